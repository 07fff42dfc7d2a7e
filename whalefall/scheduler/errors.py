# ruff: noqa: N818 - these are sentences' subjects ("JobNotFound"), and the names are a contract
"""What can go wrong with jobs and runs, as sentences. The API maps the classes to status codes.

WhalefallError
├── SchedulerNotInstalled   the Flask app has no scheduler
├── SchedulerDisabled       this process is not the scheduler's (409)
├── JobDeclarationError     the code declares a job that cannot work (a ConfigError: exit 2)
├── ForeignLedger           the database holds another application's ledger (a ConfigError: exit 2)
├── JobNotFound, RunNotFound                                             (404)
├── InvalidTrigger, InvalidArguments                                     (400)
├── JobConflict             somebody else changed it first, or it is in no state for that (409)
├── NotInARun               current_run was asked outside a job
└── LedgerUnavailable       the database does not answer as it should (503)
    └── Deposed             another scheduler has become the leader: drop everything
"""

from whalefall.errors import ConfigError, WhalefallError


class SchedulerNotInstalled(WhalefallError):
    """The Flask application has no scheduler: call `Scheduler(app)` or `scheduler.init_app(app)` first."""


class SchedulerDisabled(WhalefallError):
    """This process does not run the scheduler."""


class JobDeclarationError(ConfigError):
    """The code declares a job that could not be run; the sentence names file and line."""


class ForeignLedger(ConfigError):
    """The database holds the ledger of another application, whose jobs this one would retire."""


class JobNotFound(WhalefallError):
    """There is no job with this id."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"There is no job {job_id!r}.")
        self.job_id = job_id


class RunNotFound(WhalefallError):
    """There is no run with this id."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"There is no run {run_id!r}.")
        self.run_id = run_id


class InvalidTrigger(WhalefallError):
    """The trigger means nothing, or never comes true."""


class InvalidArguments(WhalefallError):
    """The arguments do not fit the job's function, or are no JSON."""


class JobConflict(WhalefallError):
    """The job or run is not in a state that allows this, or somebody else was quicker."""


class NotInARun(WhalefallError):
    """`current_run` is known only inside a job."""


class LedgerUnavailable(WhalefallError):
    """The database does not answer, is read-only, in recovery, full, locked or damaged."""


class Deposed(LedgerUnavailable):
    """Another scheduler leads now."""
