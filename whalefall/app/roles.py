"""WHO MAY DO WHAT: each view says what it needs; a view that says nothing is closed.

One guard runs before every view of ours. It asks, in this order: who is it, may they, and, for a change made with a
cookie, did it come from one of our own pages (CSRF).
"""

from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar

View = TypeVar("View", bound=Callable[..., Any])
_MARK = "whalefall_needs"


class Role(Enum):
    """Ordered by what they may: everything `view` may, `admin` may too."""

    NONE = 0
    VIEW = 1
    ADMIN = 2

    def may(self, needed: "Role") -> bool:
        """True when this role is enough for `needed`."""
        return self.value >= needed.value

    @classmethod
    def named(cls, name: str) -> "Role":
        """`view` and `admin`, as they are stored; anything else may nothing."""
        return {"view": cls.VIEW, "admin": cls.ADMIN}.get(name, cls.NONE)


ROLE_NAMES = ("view", "admin")


def needs(role: Role) -> Callable[[View], View]:
    """Declares what a view needs; `Role.NONE` opens it to everybody."""

    def mark(view: View) -> View:
        setattr(view, _MARK, role)  # functools.wraps copies __dict__, so decorators above keep the mark
        return view

    return mark


def needed_by(view: Callable[..., Any] | None) -> Role | None:
    """What the view declared, or None when it declared nothing (the guard then refuses)."""
    return getattr(view, _MARK, None)
