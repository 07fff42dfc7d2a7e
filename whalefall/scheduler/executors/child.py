"""The process of one run: reads its order from standard input, performs it, reports, ends.

    python -m whalefall.scheduler.executors.child REPORT MINDER      a descriptor, and a pid

It dies with its minder (PR_SET_PDEATHSIG), for without one it has no limits and its end would be unknown. SIGTERM
raises RunCancelled in the job, so that its `finally` runs; SIGUSR1 prints where it is.
"""

import ctypes
import faulthandler
import functools
import importlib
import json
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable
from datetime import datetime
from types import ModuleType
from typing import Any

from flask import Flask

from whalefall.scheduler import functions, running, tracebacks
from whalefall.scheduler.core.policies import Policies
from whalefall.scheduler.core.runs import RunState
from whalefall.scheduler.executors.order import Order, order_from_json
from whalefall.scheduler.ledger.records import ClaimedRun, RunRecord
from whalefall.scheduler.state import KEY
from whalefall.scheduler.worker import flask_apps

_PR_SET_PDEATHSIG = 1
_MEGABYTE = 1024 * 1024
_RETURNED_MAX = 2_000  # characters of what a job returned


def main() -> int:
    report_fd, minder = map(int, sys.argv[1:])
    _die_with(minder)
    order = order_from_json(sys.stdin.buffer.read())
    report = functools.partial(_report, report_fd)
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(levelname)s %(name)s: %(message)s")
    context = running.RunContext(_claimed(order), told=lambda fraction, text: report(progress=fraction, text=text))
    signal.signal(signal.SIGTERM, lambda *_: _cancel(context))
    try:
        if order.memory_mb is not None:
            # RLIMIT_DATA counts what is written to, not what is only mapped (setrlimit(2), Linux 4.7).
            resource.setrlimit(resource.RLIMIT_DATA, (order.memory_mb * _MEGABYTE,) * 2)
        _perform(order, context, report)
    except running.RunCancelled:
        report(ended=RunState.CANCELLED, error="")
    except BaseException as error:  # noqa: BLE001 - the border to the user's code
        report(ended=RunState.FAILED, error=tracebacks.told(error))
    else:
        report(ended=RunState.SUCCEEDED, error="")
    sys.stdout.flush()
    return 0


def find_app(order: Order) -> Flask:
    """The app by its reference, or the one Flask app of the module of the job's function."""
    if order.app_ref:
        return app_named(order.app_ref)
    return _only_app(importlib.import_module(order.func_ref.partition(":")[0]), order)


def app_named(app_ref: str) -> Flask:
    """`module:callable`, the callable being an app, a wrapped app, or a factory. Raises LookupError."""
    module_name, _, name = app_ref.partition(":")
    found: Any = getattr(importlib.import_module(module_name), (name or "app").removesuffix("()"))
    apps = [] if name.endswith("()") else list(flask_apps(found))
    if not apps and callable(found):
        apps = list(flask_apps(found()))
    if not apps:
        raise LookupError(f"{app_ref} is no Flask application.")
    return apps[0]


def _only_app(module: ModuleType, order: Order) -> Flask:
    apps = [value for value in vars(module).values() if isinstance(value, Flask) and KEY in value.extensions]
    if len(apps) == 1:
        return apps[0]
    raise LookupError(
        f"A process of its own needs to know the Flask application of {order.func_ref}: "
        "set WHALEFALL_APP=module:callable (or app.config['WHALEFALL_APP'])."
    )


def _perform(order: Order, context: running.RunContext, report: Callable[..., None]) -> None:
    app = find_app(order)
    function = functions.load(order.func_ref)
    token = running.enter(context)
    report(begun=True)
    try:
        with app.app_context():
            returned = function(*order.args, **order.kwargs)
    finally:
        running.leave(token)
    if returned is not None:
        sys.stdout.write(f"returned {str(returned)[:_RETURNED_MAX]}\n")


def _report(descriptor: int, **what: Any) -> None:
    text = (json.dumps(what) + "\n").encode()
    while text:
        text = text[os.write(descriptor, text) :]


def _cancel(context: running.RunContext) -> None:
    if not context.cancelled.is_set():  # once: asked again, the job's `finally` must still come to its end
        context.cancelled.set()
        raise running.RunCancelled


def _die_with(parent: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we could ask the kernel
        os._exit(1)


def _claimed(order: Order) -> ClaimedRun:
    scheduled_at = datetime.fromisoformat(order.scheduled_at)
    run = RunRecord(
        run_id=order.run_id,
        job_id=order.job_id,
        source=order.source,
        scheduled_at=scheduled_at,
        dedupe="",
        state=RunState.RUNNING,
        reason="",
        span_end=None,
        span_count=1,
        not_before=scheduled_at,
        slots=0,
        executor="process",
        args=None,
        created_at=scheduled_at,
        created_by="",
        note="",
        fired_by="",
        fired_term=None,
        attempt=order.attempt,
        claimed_by="",
        lease_until=None,
        started_at=None,
        finished_at=None,
        cancel_requested=False,
        cancelled_by="",
        progress=None,
        progress_text="",
        output="",
        error="",
    )
    return ClaimedRun(run, order.func_ref, order.args, order.kwargs, Policies())


if __name__ == "__main__":
    sys.exit(main())
