"""`python -m whalefall` is the command `whalefall`."""

import sys

from whalefall.cli import main

if __name__ == "__main__":
    sys.exit(main())
