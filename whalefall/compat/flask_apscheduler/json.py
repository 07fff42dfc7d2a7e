"""Values of the REST API as JSON: dates in ISO 8601, jobs as the dictionaries of `job_to_dict`."""

import json
from datetime import datetime
from typing import Any

from flask import Response

from whalefall.compat.flask_apscheduler.job import Job
from whalefall.compat.flask_apscheduler.utils import job_to_dict


def jsonify(data: object, status: int | None = None) -> Response:
    return Response(json.dumps(data, default=_plain), status or 200, mimetype="application/json")


def _plain(value: object) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return job_to_dict(value) if isinstance(value, Job) else str(value)
