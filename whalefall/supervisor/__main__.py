"""`python -m whalefall.supervisor`: what `whalefall serve` becomes."""

import sys

from whalefall.supervisor.main import main

sys.exit(main())
