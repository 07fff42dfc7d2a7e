"""The scheduler Gunicorn: one worker that owns the jobs. Read by `whalefall scheduler`, and by `gunicorn -c` as it is.

One worker and no recycling, because the jobs live in it: a second one would be a second scheduler, and `max_requests`
would end runs for no reason. No preload either: the scheduler is threads, and threads do not survive fork(2).
"""

from whalefall.planner import churn as _churning
from whalefall.planner import gunicorn as _gunicorn
from whalefall.settings import Settings

_settings = Settings.load()
_gunicorn.refuse_preload()

bind = _settings.scheduler_listen
backlog = 2048
proc_name = "whalefall-scheduler"

workers = 1
worker_class = "gthread"
threads = 4
worker_tmp_dir = _gunicorn.memory_directory()
preload_app = False

timeout = _settings.request_timeout_s
graceful_timeout = max(1, _settings.grace_s * 2 // 3 - 1)
keepalive = 2
max_requests = 0
limit_request_line = 8190  # Nginx, which refuses in the API's own language, takes a little less
limit_request_fields = 32768

accesslog, errorlog = _gunicorn.log_files(_settings, "scheduler")
logger_class = "whalefall.planner.quiet_log.QuietLogger"
loglevel = _settings.log_level

control_socket, control_socket_disable = _gunicorn.control_socket(_settings, "scheduler")

_churn = _churning.Churn()


def on_starting(server):
    """What the command line or GUNICORN_CMD_ARGS changed behind our back."""
    _gunicorn.refuse_second_scheduler(server.cfg)


def pre_fork(server, worker):
    """A worker comes."""
    _churn.forks(worker)


def post_fork(server, worker):
    """Before the application is imported."""
    _gunicorn.begin_tracebacks_at_the_application()


def post_worker_init(worker):
    """The application is loaded: its scheduler starts, and the worker says that it is ready."""
    _churn.is_ready(worker)
    application = worker.wsgi
    worker.wsgi = _gunicorn.answering_ready(application)
    _gunicorn.tell_stacks_when_asked()
    _gunicorn.send_whole_responses()
    if Settings.load().enable_scheduler:
        from whalefall.scheduler import start_worker  # noqa: PLC0415 - the master must not carry the application's weight

        start_worker(application)
        worker.whalefall_scheduler = True
        # At once, not when the last request is answered: that may take all the time, and runs need it, too.
        _gunicorn.when_told_to_stop(lambda: _stop_scheduler(worker))

    from whalefall.app.notify.worker import start_worker as start_notices  # noqa: PLC0415 - as above

    start_notices(application)


def worker_exit(server, worker):
    """Runs are finished or handed back, and leadership is given up, before the process ends."""
    _churn.leaves(worker)
    if getattr(worker, "whalefall_scheduler", False):
        _stop_scheduler(worker)
    from whalefall.app.notify.worker import stop_worker as stop_notices  # noqa: PLC0415 - it is imported already

    stop_notices()


def _stop_scheduler(worker):
    """Within what Gunicorn's master leaves us before it kills."""
    from whalefall.scheduler import stop_worker  # noqa: PLC0415 - it is imported already

    stop_worker(worker.cfg.graceful_timeout, followed=_gunicorn.will_be_followed(_settings))


def child_exit(server, worker):
    """A worker has gone: alone, or as one of too many?"""
    _churn.died(server, worker)
