"""The two clocks: monotonic seconds for decisions, wall time for people."""

import time

now = time.monotonic
wall = time.time
