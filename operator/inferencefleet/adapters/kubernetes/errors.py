"""What the API server answers when it does not answer with an object, as exception classes."""

from __future__ import annotations

import json
from typing import Any


class ApiError(Exception):
    """The API server refused a request, or could not be asked (`status` 0)."""

    def __init__(self, status: int, message: str, *, reason: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(f"{status} {reason}: {message}" if status else message)
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after_s = retry_after_s

    @property
    def transient(self) -> bool:
        """Worth the same request again later: nothing is wrong with the request."""
        return False


class NotFound(ApiError):
    """404."""


class Conflict(ApiError):
    """409: somebody else was faster, a precondition failed, or the name is taken."""


class Gone(ApiError):
    """410: the resource version is too old to watch from."""


class Invalid(ApiError):
    """400 and 422: the object is wrong."""


class Forbidden(ApiError):
    """401 and 403: RBAC, quota or an admission policy says no."""


class Unreachable(ApiError):
    """No answer in time, or none at all."""

    @property
    def transient(self) -> bool:
        return True


class Busy(ApiError):
    """429 and 5xx; `retry_after_s` is what the server asked for."""

    @property
    def transient(self) -> bool:
        return True


_BY_STATUS: dict[int, type[ApiError]] = {
    400: Invalid,
    401: Forbidden,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
    429: Busy,
}

_SCHEMA_MISMATCH = "failed to create typed patch object"
"""Server-side apply answers 500 when a field is not in the schema, which no repetition will mend."""


def error_from(status: int, body: bytes, retry_after: str | None = None) -> ApiError:
    """The exception for a failed response. The body is a `Status` object, or whatever a proxy wrote."""
    found = _as_status(body)
    text = str(found.get("message") or body[:300].decode(errors="replace") or "no message")
    kind = _BY_STATUS.get(status, Busy if status >= 500 else ApiError)
    if _SCHEMA_MISMATCH in text:
        kind = Invalid
    return kind(status, text, reason=str(found.get("reason") or ""), retry_after_s=_seconds(retry_after))


def error_from_event(status: dict[str, Any]) -> ApiError:
    """The exception for an ERROR event inside a watch stream."""
    code = int(status.get("code") or 500)
    return error_from(code, json.dumps(status).encode())


def _as_status(body: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(body)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _seconds(retry_after: str | None) -> float | None:
    try:
        return float(retry_after) if retry_after else None
    except ValueError:  # an HTTP date: not worth a parser, the caller has its own back-off
        return None
