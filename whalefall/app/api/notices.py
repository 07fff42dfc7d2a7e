"""/api/v1/notices: who was told of what, who was not, and why. Administrators only: it names receivers."""

from typing import Any

from marshmallow import fields

from whalefall.app.api.blueprint import ApiBlueprint
from whalefall.app.api.envelope import ok
from whalefall.app.api.schemas import AuditQuery, Schema
from whalefall.app.roles import Role
from whalefall.app.store import notices
from whalefall.app.store.engine import engine

blueprint = ApiBlueprint("notices", "/notices", "Notices of failed, missed and recovered jobs")


class Delivery(Schema):
    channel = fields.String(required=True, metadata={"description": "webhook or mail"})
    state = fields.String(required=True, metadata={"description": "waiting, sending, sent or failed"})
    attempts = fields.Integer(required=True)
    sent_at = fields.DateTime(format="iso", allow_none=True)
    answer = fields.String(required=True, metadata={"description": "What the receiver said last"})


class NoticeShown(Schema):
    id = fields.Integer(required=True)
    event = fields.String(required=True, metadata={"description": "failed, missed, slow, recovered or summary"})
    kind = fields.String(required=True, metadata={"description": "The watchman's word for what is wrong"})
    subject = fields.String(required=True, metadata={"description": "The job's id; empty for the scheduler"})
    since = fields.DateTime(format="iso", required=True)
    text = fields.String(required=True)
    run_id = fields.String(required=True)
    state = fields.String(required=True, metadata={"description": "pending, told or suppressed"})
    reason = fields.String(required=True, metadata={"description": "Why it was suppressed"})
    seen_at = fields.DateTime(format="iso", required=True)
    told_at = fields.DateTime(format="iso", allow_none=True)
    ended_at = fields.DateTime(format="iso", allow_none=True, metadata={"description": "When it was over"})
    deliveries = fields.Nested(Delivery, many=True, required=True)


@blueprint.operation("GET", "", needs_role=Role.ADMIN, query=AuditQuery, gives_many=NoticeShown)
def list_notices(query: dict[str, Any]) -> dict[str, Any]:
    """The newest notices first; `meta.next` is the next page's `before`."""
    found = notices.page(engine(), before=query["before"], limit=query["limit"])
    following = found[-1].id if len(found) == query["limit"] else None
    return ok(found, f"{len(found)} notices.", meta={"next": following})
