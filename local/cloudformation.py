"""CloudFormation's side of a custom resource: events go out, answers come to a presigned URL.

Implements what the AWS CloudFormation User Guide says under "Custom resource response objects", and
how S3 treats a PUT to a presigned URL.
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

from local.cloudformation_answers import Answer, Expectation, read_answer
from local.running import Running
from local.web import (
    AccessLogEntry,
    LoopbackServer,
    OversizedBodyError,
    Request,
    Response,
    read_body,
)

__all__ = ["Answer", "CloudFormationEndpoint", "RequestType"]

RequestType = Literal["Create", "Update", "Delete"]

_BUCKET = "/cloudformation-custom-resource-response-loopback/"
_STORED_LIMIT_BYTES = 1024 * 1024
_DEFAULT_STACK_ID = (
    "arn:aws:cloudformation:eu-central-1:123456789012:stack/demo/"
    "5e2c3f60-0000-4000-8000-0123456789ab"
)
_DEFAULT_FUNCTION_ARN = "arn:aws:lambda:eu-central-1:123456789012:function:replicator"


class CloudFormationEndpoint(Running):
    """An HTTPS server that hands out response URLs and takes the answers.

    `tls` is what `CertificateAuthority.server_context` gives. `statuses` are answered first, one a
    correctly signed PUT, before PUTs are stored: failures to retry against. An answer which
    CloudFormation would not accept is stored, as S3 does, and named in `violations`.

    Raises
    ------
    OSError
        The port is taken.
    """

    def __init__(self, tls: ssl.SSLContext, *, port: int = 0, statuses: Sequence[int] = ()) -> None:
        self._server = LoopbackServer(self._answer, port=port, tls=tls)
        self._key = secrets.token_bytes(32)
        self._statuses = list(statuses)
        self._expectations: dict[str, Expectation] = {}
        self._answers: list[Answer] = []
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
        """Return the presigned URL for a request's answer; nobody can guess it.

        The answer has to name the request's id, and the other two when they are given here.
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
        """Return the event of a new request, as CloudFormation gives it to a function."""
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
    def answers(self) -> tuple[Answer, ...]:
        """Every PUT that was stored, duplicates too, in the order of their arrival."""
        with self._changed:
            return tuple(self._answers)

    @property
    def violations(self) -> tuple[str, ...]:
        """A sentence for each rule that a PUT broke, refused ones included."""
        with self._changed:
            return tuple(self._violations)

    @property
    def requests(self) -> tuple[AccessLogEntry, ...]:
        """A snapshot of the HTTP requests, whatever they were answered."""
        return self._server.requests

    def wait_for_answer(self, request_id: str, timeout_seconds: float = 10.0) -> Answer:
        """Return the first stored answer to a request, valid or not, waiting for it to come.

        Raises
        ------
        TimeoutError
            None came in time.
        """
        deadline = time.monotonic() + timeout_seconds
        with self._changed:
            while True:
                for answer in self._answers:
                    if answer.request_id == request_id:
                        return answer
                if not self._changed.wait(max(0.0, deadline - time.monotonic())):
                    message = f"no answer to {request_id} within {timeout_seconds} s"
                    raise TimeoutError(message)

    def start(self) -> Self:
        """Begin to accept connections."""
        self._server.start()
        return self

    def close(self) -> None:
        """Stop serving. May be called twice."""
        self._server.close()

    def _answer(self, request: Request) -> Response:
        error_from_response = self._refusal(request)
        if error_from_response is not None:
            return error_from_response
        request_id = request.path.removeprefix(_BUCKET)
        with self._changed:
            if self._statuses:
                return _error(self._statuses.pop(0), "InternalError", "Please try again.")
        try:
            body = read_body(request, _STORED_LIMIT_BYTES)
        except OversizedBodyError as error:
            return self._refuse(400, "EntityTooLarge", str(error))
        with self._changed:
            answer = read_answer(body, self._expectations[request_id])
            self._answers.append(answer)
            self._violations += answer.violations
            self._changed.notify_all()
        return Response(200, {"ETag": f'"{hashlib.sha256(body).hexdigest()[:32]}"'})

    def _refusal(self, request: Request) -> Response | None:
        return self._url_refusal(request) or self._header_refusal(request)

    def _url_refusal(self, request: Request) -> Response | None:
        signature = request.parameter("X-Amz-Signature") or ""
        if request.method != "PUT" or not request.path.startswith(_BUCKET):
            return self._refuse(403, "AccessDenied", f"{request.method} of no presigned URL")
        if not hmac.compare_digest(signature.encode(), self._signature(request.path).encode()):
            return self._refuse(403, "SignatureDoesNotMatch", "the URL's signature is wrong")
        return None

    def _header_refusal(self, request: Request) -> Response | None:
        if request.headers.get("content-type"):
            # S3 signs Content-Type, and CloudFormation signs it as empty
            return self._refuse(403, "SignatureDoesNotMatch", "Content-Type is not empty")
        if "authorization" in request.headers:
            return self._refuse(400, "InvalidArgument", "Authorization beside a presigned URL")
        if "content-length" not in request.headers:
            return self._refuse(411, "MissingContentLength", "no Content-Length")
        return None

    def _refuse(self, status: int, code: str, message: str) -> Response:
        with self._changed:
            self._violations.append(f"{status} {code}: {message}")
        return _error(status, code, message)

    def _signature(self, path: str) -> str:
        return hmac.new(self._key, path.encode(), hashlib.sha256).hexdigest()


def _error(status: int, code: str, message: str) -> Response:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return Response(status, {"Content-Type": "application/xml"}, body.encode())
