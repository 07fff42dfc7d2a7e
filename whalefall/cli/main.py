"""argv → exit code. The only place that catches our errors, prints them and chooses the code."""

import os
import sys
from collections.abc import Sequence

from whalefall.cli.parser import parse
from whalefall.errors import WhalefallError

INTERRUPTED = 130  # 128 + SIGINT, as a shell says it
BROKEN_PIPE = 141  # 128 + SIGPIPE: what `| head` gives to those who do not catch it


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command. Every WhalefallError is one line on standard error; anything else is a bug and shows itself."""
    try:
        arguments = parse(sys.argv[1:] if argv is None else argv)
        code: int = arguments.run(arguments)
        sys.stdout.flush()
    except WhalefallError as error:
        print(f"whalefall: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader went away (`| head`). The interpreter would flush once more at its end, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return BROKEN_PIPE
    return code
