"""What `whalefall serve` becomes. A file to run (planner/python.py); `python -m whalefall.supervisor` works, too."""

import gc
import os
import sys

if not __package__:
    # Behind the standard library: where we are installed lies much else, perhaps an `enum.py`.
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

gc.disable()  # what is loaded now stays for good

from whalefall.supervisor.main import main  # noqa: E402

gc.freeze()  # and is looked at by no collection, which would copy its pages into every child
gc.enable()

# Nothing is left to be flushed, and the interpreter's own end takes longer than the stop of fifty services.
os._exit(main())
