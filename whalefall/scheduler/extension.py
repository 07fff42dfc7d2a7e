"""`Scheduler`: the Flask extension. It keeps declarations; the state of an app lives in `app.extensions`."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

from flask import Flask

from whalefall.scheduler.declaration import Declaration, Labels, declare
from whalefall.scheduler.errors import JobDeclarationError
from whalefall.scheduler.functions import Function, where
from whalefall.scheduler.state import KEY, SchedulerState, of
from whalefall.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])


class Scheduler:
    """Declares jobs; `init_app` binds them to an app. One scheduler may serve several apps (factories)."""

    def __init__(self, app: Flask | None = None) -> None:
        self.declarations: dict[str, Declaration] = {}
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask, settings: Settings | None = None) -> None:
        """Installs the scheduler into `app`. Starts nothing: the role does (see `whalefall.scheduler.start_worker`).

        Settings come from the argument, `app.config["WHALEFALL_SETTINGS"]`, or the environment.
        """
        chosen = settings or app.config.get("WHALEFALL_SETTINGS") or Settings.load()
        app.extensions[KEY] = SchedulerState(app, self.declarations, chosen)

    def task(
        self,
        trigger: str,
        *,
        id: str | None = None,  # noqa: A002 - the name that users of Flask-APScheduler know
        name: str | None = None,
        description: str | None = None,
        args: tuple[Any, ...] | list[Any] = (),
        kwargs: dict[str, Any] | None = None,
        **options: Any,
    ) -> Callable[[F], F]:
        """`@scheduler.task("cron", id="report", hour=6)`: trigger arguments and policies side by side.

        Raises JobDeclarationError, with file and line, for whatever could not work later.
        """

        def decorate(function: F) -> F:
            labels = Labels(id, name, description)
            self.add(
                declare(
                    function, trigger, labels, now=datetime.now(UTC), args=tuple(args), kwargs=kwargs, options=options
                )
            )
            return function

        return decorate

    def add(self, declaration: Declaration) -> None:
        """Takes a declaration. Two of the same id for different functions are an error."""
        known = self.declarations.get(declaration.job_id)
        if known is not None and not _same_function(known.function, declaration.function):
            raise JobDeclarationError(
                f"{where(declaration.function)}: job {declaration.job_id!r} is already declared at "
                f"{where(known.function)}. Give one of them another id."
            )
        self.declarations[declaration.job_id] = declaration

    def start(self, app: Flask) -> bool:
        """Starts the loop in this process if that is its role."""
        return of(app).start()

    def shutdown(self, app: Flask, wait_s: float = 5.0) -> None:
        """Stops firing, gives the lead back, waits for runs up to `wait_s`."""
        of(app).stop(wait_s)


def _same_function(one: Function, other: Function) -> bool:
    # A module that is imported again makes new objects of the same functions.
    return one is other or (one.__module__, one.__qualname__) == (other.__module__, other.__qualname__)
