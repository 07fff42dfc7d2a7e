"""THE API AND THE PAGES: what people and scripts see of jobs, runs and processes.

It asks the scheduler room through `whalefall.scheduler.of(app)` and the supervisor through its control socket; it
never imports the supervisor or the planner. SQL of its own stays in `store/`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from whalefall.app.factory import create_app as create_app
    from whalefall.app.factory import install as install

__all__ = ["create_app", "install"]


def __getattr__(name: str) -> Any:
    # Lazily, because whalefall.app.direct in front of somebody's own application needs none of it.
    if name in __all__:
        from whalefall.app import factory  # noqa: PLC0415 - PEP 562

        return getattr(factory, name)
    raise AttributeError(f"module 'whalefall.app' has no attribute {name!r}")
