"""Which IAM action a request to AWS needs, and how its service would refuse it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from local.web import Request, Response

_JSON_SERVICES = {"secretsmanager": "secretsmanager", "TrentService": "kms"}
_BUCKET_HOST = re.compile(r"(?P<bucket>.+)\.s3[.-].*")
_S3_ACTIONS = {
    "GET": "GetObject",
    "HEAD": "GetObject",
    "PUT": "PutObject",
    "DELETE": "DeleteObject",
}


@dataclass(frozen=True, slots=True)
class ServiceCall:
    """One request: `sts:AssumeRole` with its parameters, `s3:GetObject` with Bucket and Key."""

    action: str
    parameters: Mapping[str, Any]


def read_call(request: Request, body: bytes) -> ServiceCall:
    """Return what a request asks for; the action is `?` where nobody can tell."""
    host = request.headers.get("host", "")
    target = request.headers.get("x-amz-target")
    if target is not None:
        service, _, operation = target.partition(".")
        name = f"{_JSON_SERVICES.get(service, service)}:{operation}"
        return ServiceCall(name, json.loads(body or b"{}"))
    if host.startswith(("sts.", "sts-fips.", "iam.")):
        form = dict(parse_qsl(body.decode()))
        return ServiceCall(f"{host[:3]}:{form.get('Action', '?')}", form)
    return _read_s3_call(request, host)


def refuse(call: ServiceCall, caller_arn: str) -> Response:
    """Return AccessDenied in the words and the protocol of the call's service."""
    message = (
        f"User: {caller_arn} is not authorized to perform: {call.action} because no "
        "identity-based policy allows it"
    )
    service = call.action.partition(":")[0]
    if service == "s3":
        document = f"<Error><Code>AccessDenied</Code><Message>{message}</Message></Error>"
        return Response(403, {"Content-Type": "application/xml"}, document.encode())
    if service in {"sts", "iam"}:
        document = (
            "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>"
            f"<Message>{message}</Message></Error></ErrorResponse>"
        )
        return Response(403, {"Content-Type": "text/xml"}, document.encode())
    error = {"__type": "AccessDeniedException", "Message": message}
    return Response(400, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(error).encode())


def _read_s3_call(request: Request, host: str) -> ServiceCall:
    bucket_host = _BUCKET_HOST.fullmatch(host)
    path = request.path.lstrip("/")
    if bucket_host is not None:
        bucket, key = bucket_host["bucket"], path
    else:
        bucket, _, key = path.partition("/")
    parameters = {"Bucket": bucket, "Key": key}
    if key:
        return ServiceCall(f"s3:{_S3_ACTIONS.get(request.method, '?')}", parameters)
    action = "ListBucket" if request.method in {"GET", "HEAD"} else "CreateBucket"
    return ServiceCall(f"s3:{action}", parameters)
