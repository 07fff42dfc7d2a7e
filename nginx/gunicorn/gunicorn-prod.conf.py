"""The web Gunicorn: several workers, no scheduler. Read by `whalefall web`, and by `gunicorn -c` as it is.

Everything is decided from the environment, so that the same file serves `whalefall serve`, honcho, a PaaS and you.
A socket in LISTEN_FDS wins over `bind`.
"""

import os

from whalefall.planner import churn as _churning
from whalefall.planner import gunicorn as _gunicorn
from whalefall.planner import held as _held
from whalefall.settings import Settings

_settings = Settings.load()

bind = f"0.0.0.0:{_settings.port}" if os.environ.get("PORT", "").strip() else _settings.web_listen
backlog = 2048
proc_name = "whalefall-web"

workers = _settings.web_concurrency
worker_class = "gthread"
threads = _settings.web_threads
worker_tmp_dir = _gunicorn.memory_directory()  # the heartbeat file on a disk can stall a worker
preload_app = False  # each worker has its own database connections and threads

timeout = _settings.request_timeout_s  # of a worker's sign of life, not of a request
graceful_timeout = max(1, _settings.grace_s * 2 // 3 - 1)
# Behind our Nginx, which keeps no connections to us: a worker takes no more of them than it can work on at once, so
# that a busy or hung worker leaves the others to its brothers instead of queueing them behind itself.
_behind_nginx = bool(os.environ.get("LISTEN_FDS")) and not os.environ.get("WHALEFALL_DIRECT")
keepalive = 0 if _behind_nginx else 2
worker_connections = threads if _behind_nginx else 1000
max_requests = 10_000  # a leak in a library is bounded; the jitter keeps workers from leaving together
max_requests_jitter = 1_000
limit_request_line = 8190  # Nginx, which refuses in the API's own language, takes a little less
limit_request_fields = 32768

accesslog = None  # Nginx writes one line for each request, with upstream times
errorlog = "-"
loglevel = _settings.log_level
capture_output = False

control_socket, control_socket_disable = _gunicorn.control_socket(_settings, "web")

_churn = _churning.Churn()


def pre_fork(server, worker):
    """A worker comes."""
    _churn.forks(worker)


def post_fork(server, worker):
    """Before the application is imported."""
    _gunicorn.begin_tracebacks_at_the_application()


def post_worker_init(worker):
    """The application is loaded: from now on this worker says so at /whalefall/ready."""
    _churn.is_ready(worker)
    application = worker.wsgi
    worker.wsgi = _gunicorn.answering_ready(application)
    _gunicorn.tell_stacks_when_asked()
    _gunicorn.send_whole_responses()
    if _behind_nginx:
        _held.leave_when_all_are_lost(worker, _settings.request_timeout_s)

    from whalefall.app.notify.worker import start_worker  # noqa: PLC0415 - the master needs none of it

    start_worker(application)


def worker_exit(server, worker):
    """What is being sent is sent, so that nobody sends it again."""
    _churn.leaves(worker)
    from whalefall.app.notify.worker import stop_worker  # noqa: PLC0415 - it is imported already

    stop_worker()


def child_exit(server, worker):
    """A worker has gone: alone, or as one of too many?"""
    _churn.died(server, worker)
