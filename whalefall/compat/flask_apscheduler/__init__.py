"""Flask-APScheduler 1.13's public names: `from whalefall.compat.flask_apscheduler import APScheduler`.

Same class, same configuration keys, same REST routes; underneath, the ledger. What differs is said in
`docs/how-to/move-from-flask-apscheduler.md`: functions need a name, arguments are JSON, `run_job` queues instead of
blocking the request, and without an auth hook the REST API answers loopback only.
"""

from apscheduler.schedulers.base import STATE_PAUSED, STATE_RUNNING, STATE_STOPPED

from whalefall.compat.flask_apscheduler.scheduler import APScheduler

__all__ = ["STATE_PAUSED", "STATE_RUNNING", "STATE_STOPPED", "APScheduler"]
