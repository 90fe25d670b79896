"""Errors of the OCI distribution specification 1.1, "Error Codes"."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from local.web import Response


class ErrorCode(StrEnum):
    """The specification's codes, and UNKNOWN for other errors."""

    BLOB_UNKNOWN = "BLOB_UNKNOWN"
    BLOB_UPLOAD_INVALID = "BLOB_UPLOAD_INVALID"
    BLOB_UPLOAD_UNKNOWN = "BLOB_UPLOAD_UNKNOWN"
    DENIED = "DENIED"
    DIGEST_INVALID = "DIGEST_INVALID"
    MANIFEST_BLOB_UNKNOWN = "MANIFEST_BLOB_UNKNOWN"
    MANIFEST_INVALID = "MANIFEST_INVALID"
    MANIFEST_UNKNOWN = "MANIFEST_UNKNOWN"
    NAME_INVALID = "NAME_INVALID"
    NAME_UNKNOWN = "NAME_UNKNOWN"
    SIZE_INVALID = "SIZE_INVALID"
    TAG_INVALID = "TAG_INVALID"
    TOOMANYREQUESTS = "TOOMANYREQUESTS"
    UNAUTHORIZED = "UNAUTHORIZED"
    UNKNOWN = "UNKNOWN"
    UNSUPPORTED = "UNSUPPORTED"


_STATUSES: dict[str, int] = {
    ErrorCode.BLOB_UNKNOWN: 404,
    ErrorCode.BLOB_UPLOAD_UNKNOWN: 404,
    ErrorCode.DENIED: 403,
    ErrorCode.MANIFEST_UNKNOWN: 404,
    ErrorCode.NAME_UNKNOWN: 404,
    ErrorCode.TOOMANYREQUESTS: 429,
    ErrorCode.UNAUTHORIZED: 401,
    ErrorCode.UNKNOWN: 500,
    ErrorCode.UNSUPPORTED: 405,
}


class RegistryError(Exception):
    """An error response: a status, a code and a message.

    The default status is that of the code, 400 for most.
    """

    def __init__(
        self,
        code: ErrorCode | str,
        message: str,
        *,
        detail: Any = None,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = str(code)
        self.message = message
        self.detail = detail
        self.status = status or _STATUSES.get(self.code, 400)
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """Return the response: `{"errors": [{"code", "message", "detail"}]}`."""
        error = {"code": self.code, "message": self.message, "detail": self.detail}
        return Response(
            self.status,
            {"Content-Type": "application/json", **self.headers},
            json.dumps({"errors": [error]}).encode(),
        )
