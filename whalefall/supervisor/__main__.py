"""`python -m whalefall.supervisor`: what `whalefall serve` becomes."""

import gc
import os

gc.disable()  # what is loaded now stays for good

from whalefall.supervisor.main import main  # noqa: E402

gc.freeze()  # and is looked at by no collection, which would copy its pages into every child
gc.enable()

# Nothing is left to be flushed, and the interpreter's own end takes longer than the stop of fifty services.
os._exit(main())
