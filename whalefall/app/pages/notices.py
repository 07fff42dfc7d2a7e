"""/notices: who was told of what, who was not, and why."""

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from whalefall.app.roles import Role, needs
from whalefall.app.state import app_state
from whalefall.app.store import notices
from whalefall.app.store.engine import engine

_PER_PAGE = 50
# A colour for each event and for each state of a delivery, by the kinds that the pages know.
_KINDS = {"failed": "bad", "missed": "bad", "slow": "skip", "recovered": "good", "sent": "good"}


def add_to(blueprint: Blueprint) -> None:
    """Registers the page."""
    blueprint.add_url_rule("/notices", "notices", show_notices)


@needs(Role.ADMIN)
def show_notices() -> ResponseReturnValue:
    """The newest first, and who is told at all."""
    before = request.args.get("before", type=int)
    found = notices.page(engine(), before=before, limit=_PER_PAGE)
    return render_template(
        "whalefall/notices.html",
        notices=found,
        targets=_targets(),
        next_page=found[-1].id if len(found) == _PER_PAGE else None,
        kinds=_KINDS,
    )


def _targets() -> list[tuple[str, str]]:
    """Channels and whom they reach, without secrets."""
    settings = app_state().settings
    if not settings.notifies:
        return []
    from whalefall.app.notify.channels import channels_of  # noqa: PLC0415 - two megabytes, where nobody is told

    return [(channel.name, channel.target) for channel in channels_of(settings)]
