"""The one tree of errors. Every message is one sentence for a person: what is wrong, where, and how to mend it.

    WhalefallError            exit 1   something went wrong while running
    ├── UsageError            exit 2   the command line is wrong
    ├── ConfigError           exit 2   a file, a variable or a setting is wrong
    │   └── PlanError         exit 2   a Plan (JSON) is not what the supervisor understands
    └── ControlError          exit 1   the running whalefall could not be asked, or refused

Exit code 2 for usage and configuration follows argparse and the shells (`bash(1)`, EXIT STATUS).
Nothing but the standard library may enter here: every room imports this file.
"""


class WhalefallError(Exception):
    """Something went wrong; `str()` of it is the sentence that the user sees."""

    exit_code = 1


class UsageError(WhalefallError):
    """The command line is wrong."""

    exit_code = 2


class ConfigError(WhalefallError):
    """A file, a variable or a setting is wrong; the sentence names it and says how to mend it."""

    exit_code = 2


class PlanError(ConfigError):
    """A Plan in JSON has a missing, unknown or ill-typed key; the sentence names its path."""


class ControlError(WhalefallError):
    """The running whalefall could not be reached over its control socket, or refused the request."""
