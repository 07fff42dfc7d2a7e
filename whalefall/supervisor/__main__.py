"""`python -m whalefall.supervisor`: what `whalefall serve` becomes."""

import os

from whalefall.supervisor.main import main

# Nothing is left to be flushed, and the interpreter's own end takes longer than the stop of fifty services.
os._exit(main())
