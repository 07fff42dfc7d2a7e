"""`Job`: what `add_job` and `get_job` answer. A snapshot with verbs."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from whalefall.compat.flask_apscheduler.scheduler import APScheduler


@dataclass(frozen=True, slots=True)
class Job:
    """APScheduler's attributes of a job."""

    scheduler: "APScheduler"
    id: str
    name: str
    func_ref: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    trigger: Any  # APScheduler's object
    misfire_grace_time: float | None
    coalesce: bool
    max_instances: int
    next_run_time: datetime | None
    executor: str = "default"
    pending: bool = False

    @property
    def func(self) -> Callable[..., Any]:
        return self.scheduler.function_of(self)

    def modify(self, **changes: Any) -> "Job":
        return self.scheduler.modify_job(self.id, **changes)

    def reschedule(self, trigger: Any, **trigger_args: Any) -> "Job":
        return self.scheduler.modify_job(self.id, trigger=trigger, **trigger_args)

    def pause(self) -> "Job":
        return self.scheduler.pause_job(self.id)

    def resume(self) -> "Job":
        return self.scheduler.resume_job(self.id)

    def remove(self) -> None:
        self.scheduler.remove_job(self.id)
