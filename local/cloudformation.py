"""CloudFormation for custom resources: creates events, receives responses at presigned URLs.

Implements the AWS CloudFormation User Guide, "Custom resource response objects", and S3's rules for
a PUT to a presigned URL.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import ssl
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self
from urllib.parse import quote, urlencode

from local.cloudformation_responses import CustomResourceResponse, Expectation, read_response
from local.running import Running
from local.web import (
    AccessLogEntry,
    LoopbackServer,
    OversizedBodyError,
    Request,
    Response,
    read_body,
    s3_error,
)

__all__ = ["CloudFormationEndpoint", "CustomResourceResponse", "RequestType"]

RequestType = Literal["Create", "Update", "Delete"]

_BUCKET = "/cloudformation-custom-resource-response-loopback/"
_STORED_LIMIT_BYTES = 1024 * 1024
_DEFAULT_STACK_ID = (
    "arn:aws:cloudformation:eu-central-1:123456789012:stack/demo/"
    "5e2c3f60-0000-4000-8000-0123456789ab"
)
_DEFAULT_FUNCTION_ARN = "arn:aws:lambda:eu-central-1:123456789012:function:replicator"


class CloudFormationEndpoint(Running):
    """An HTTPS server that issues response URLs and stores the responses.

    `tls` is a `CertificateAuthority.server_context`. The first correctly signed PUTs fail with
    the `statuses`, one each, to test retries. A response that CloudFormation would reject is
    stored, as S3 does, and described in `violations`.

    A function sends responses here only if its variable RESPONSE_HOSTS has `host`.

    Raises
    ------
    OSError
        The port is in use.
    """

    def __init__(self, tls: ssl.SSLContext, *, port: int = 0, statuses: Sequence[int] = ()) -> None:
        self._server = LoopbackServer(self._respond, port=port, tls=tls)
        self._key = secrets.token_bytes(32)
        self._statuses = list(statuses)
        self._expectations: dict[str, Expectation] = {}
        self._responses: list[CustomResourceResponse] = []
        self._violations: list[str] = []
        self._changed = threading.Condition()
        self.port = self._server.port
        self.host = f"localhost:{self.port}"
        self.url = f"https://{self.host}"

    def response_url(
        self,
        request_id: str,
        *,
        stack_id: str | None = None,
        logical_resource_id: str | None = None,
    ) -> str:
        """Return the presigned, unguessable URL for the response to a request.

        The response must have the request's ID, and the other two IDs if they are given.
        """
        with self._changed:
            self._expectations[request_id] = Expectation(request_id, stack_id, logical_resource_id)
        path = _BUCKET + request_id
        query = {"X-Amz-Expires": "7200", "X-Amz-Signature": self._signature(path)}
        return f"{self.url}{quote(path)}?{urlencode(query)}"

    def event(
        self,
        request_type: RequestType,
        properties: Mapping[str, Any],
        *,
        physical_resource_id: str | None = None,
        old_properties: Mapping[str, Any] | None = None,
        logical_resource_id: str = "Image",
        stack_id: str = _DEFAULT_STACK_ID,
    ) -> dict[str, Any]:
        """Return the event of a new request, as CloudFormation sends it to a function."""
        request_id = str(uuid.uuid4())
        event: dict[str, Any] = {
            "RequestType": request_type,
            "ServiceToken": _DEFAULT_FUNCTION_ARN,
            "ResponseURL": self.response_url(
                request_id, stack_id=stack_id, logical_resource_id=logical_resource_id
            ),
            "StackId": stack_id,
            "RequestId": request_id,
            "LogicalResourceId": logical_resource_id,
            "ResourceType": "Custom::ContainerImage",
            "ResourceProperties": {"ServiceToken": _DEFAULT_FUNCTION_ARN, **properties},
        }
        if physical_resource_id is not None:
            event["PhysicalResourceId"] = physical_resource_id
        if request_type == "Update":
            old = properties if old_properties is None else old_properties
            event["OldResourceProperties"] = {"ServiceToken": _DEFAULT_FUNCTION_ARN, **old}
        return event

    @property
    def responses(self) -> tuple[CustomResourceResponse, ...]:
        """All stored PUTs, including duplicates, in order of receipt."""
        with self._changed:
            return tuple(self._responses)

    @property
    def violations(self) -> tuple[str, ...]:
        """A sentence for each rule that a PUT violated, including rejected PUTs."""
        with self._changed:
            return tuple(self._violations)

    @property
    def requests(self) -> tuple[AccessLogEntry, ...]:
        """A snapshot of all HTTP requests."""
        return self._server.requests

    def wait_for_response(
        self, request_id: str, timeout_seconds: float = 60.0
    ) -> CustomResourceResponse:
        """Wait for and return the first stored response to a request, valid or not.

        Raises
        ------
        TimeoutError
            There was no response in time.
        """
        deadline = time.monotonic() + timeout_seconds
        with self._changed:
            while True:
                for response in self._responses:
                    if response.request_id == request_id:
                        return response
                if not self._changed.wait(max(0.0, deadline - time.monotonic())):
                    message = f"no response to {request_id} within {timeout_seconds} s"
                    raise TimeoutError(message)

    def start(self) -> Self:
        """Start accepting connections."""
        self._server.start()
        return self

    def close(self) -> None:
        """Stop serving. Can be called twice."""
        self._server.close()

    def _respond(self, request: Request) -> Response:
        rejection = self._rejection(request)
        if rejection is not None:
            return rejection
        request_id = request.path.removeprefix(_BUCKET)
        with self._changed:
            if self._statuses:
                return s3_error(self._statuses.pop(0), "InternalError", "Please try again.")
        try:
            body = read_body(request, _STORED_LIMIT_BYTES)
        except OversizedBodyError as error:
            return self._reject(400, "EntityTooLarge", str(error))
        with self._changed:
            response = read_response(body, self._expectations[request_id])
            self._responses.append(response)
            self._violations += response.violations
            self._changed.notify_all()
        return Response(200, {"ETag": f'"{hashlib.sha256(body).hexdigest()[:32]}"'})

    def _rejection(self, request: Request) -> Response | None:
        return self._url_rejection(request) or self._header_rejection(request)

    def _url_rejection(self, request: Request) -> Response | None:
        signature = request.parameter("X-Amz-Signature") or ""
        if request.method != "PUT" or not request.path.startswith(_BUCKET):
            return self._reject(403, "AccessDenied", f"{request.method} of no presigned URL")
        if not hmac.compare_digest(signature.encode(), self._signature(request.path).encode()):
            return self._reject(403, "SignatureDoesNotMatch", "the URL's signature is wrong")
        return None

    def _header_rejection(self, request: Request) -> Response | None:
        if request.headers.get("content-type"):
            # S3 signs Content-Type, and CloudFormation signs it as empty
            return self._reject(403, "SignatureDoesNotMatch", "Content-Type is not empty")
        if "authorization" in request.headers:
            return self._reject(400, "InvalidArgument", "Authorization beside a presigned URL")
        if "content-length" not in request.headers:
            return self._reject(411, "MissingContentLength", "no Content-Length")
        return None

    def _reject(self, status: int, code: str, message: str) -> Response:
        with self._changed:
            self._violations.append(f"{status} {code}: {message}")
        return s3_error(status, code, message)

    def _signature(self, path: str) -> str:
        return hmac.new(self._key, path.encode(), hashlib.sha256).hexdigest()
