"""THE FRONT DOOR: reads the command line, calls one room, turns its errors into one line and an exit code.

A command imports its room when it runs, so that `whalefall status` pays for nothing that it does not use.
"""

from whalefall.cli.main import main

__all__ = ["main"]
