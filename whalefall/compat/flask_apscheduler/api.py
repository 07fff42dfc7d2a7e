"""The REST routes of Flask-APScheduler: same paths, same shapes."""

from collections.abc import Callable
from typing import Any

from apscheduler.jobstores.base import ConflictingIdError, JobLookupError
from apscheduler.schedulers import SchedulerAlreadyRunningError, SchedulerNotRunningError
from flask import Response, current_app, request

from whalefall.compat.flask_apscheduler.json import jsonify
from whalefall.compat.flask_apscheduler.utils import job_to_dict
from whalefall.errors import WhalefallError


def get_scheduler_info() -> Response:
    scheduler = _scheduler()
    return jsonify(
        {
            "current_host": scheduler.host_name,
            "allowed_hosts": scheduler.allowed_hosts,
            "running": scheduler.running,
        }
    )


def pause_scheduler() -> Response:
    _scheduler().pause()
    return Response(status=204)


def resume_scheduler() -> Response:
    _scheduler().resume()
    return Response(status=204)


def start_scheduler() -> Response:
    if _scheduler().running:
        return _error(str(SchedulerAlreadyRunningError()), 400)
    _scheduler().start()
    return Response(status=204)


def shutdown_scheduler() -> Response:
    if not _scheduler().running:
        return _error(str(SchedulerNotRunningError()), 400)
    wishes = request.get_json(silent=True, force=True)
    _scheduler().shutdown(wait=not isinstance(wishes, dict) or wishes.get("wait") is not False)
    return Response(status=204)


def get_jobs() -> Response:
    return jsonify([job_to_dict(job) for job in _scheduler().get_jobs()])


def get_job(job_id: str) -> Response:
    job = _scheduler().get_job(job_id)
    return _not_found(job_id) if job is None else jsonify(job_to_dict(job))


def add_job() -> Response:
    data = request.get_json(force=True)
    try:
        return jsonify(job_to_dict(_scheduler().add_job(**data)))
    except ConflictingIdError:
        return _error(f"Job {data.get('id')} already exists.", 409)
    except (WhalefallError, TypeError, ValueError, LookupError, ImportError) as error:
        return _error(str(error), 500)


def update_job(job_id: str) -> Response:
    return _about(job_id, lambda: _scheduler().modify_job(job_id, **request.get_json(force=True)))


def pause_job(job_id: str) -> Response:
    return _about(job_id, lambda: _scheduler().pause_job(job_id))


def resume_job(job_id: str) -> Response:
    return _about(job_id, lambda: _scheduler().resume_job(job_id))


def run_job(job_id: str) -> Response:
    return _about(job_id, lambda: _scheduler().run_job(job_id))


def delete_job(job_id: str) -> Response:
    try:
        _scheduler().remove_job(job_id)
    except JobLookupError:
        return _not_found(job_id)
    return Response(status=204)


def _about(job_id: str, verb: Callable[[], object]) -> Response:
    try:
        verb()
    except JobLookupError:
        return _not_found(job_id)
    except (WhalefallError, TypeError, ValueError, LookupError, ImportError) as error:
        return _error(str(error), 500)
    return get_job(job_id)


def _scheduler() -> Any:
    return current_app.apscheduler  # type: ignore[attr-defined]  # init_app puts it there, as the original does


def _not_found(job_id: str) -> Response:
    return _error(f"Job {job_id} not found", 404)


def _error(message: str, status: int) -> Response:
    return jsonify({"error_message": message}, status)
