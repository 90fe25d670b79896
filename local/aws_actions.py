"""The IAM permissions that a request to AWS needs, and the responses when they are denied."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from local.permissions import Decision, Permission
from local.web import Request, Response

_JSON_SERVICES = {"secretsmanager": "secretsmanager", "TrentService": "kms"}
_BUCKET_HOST = re.compile(r"(?P<bucket>.+)\.s3[.-].*")
_REGION = re.compile(r"[a-z]{2,4}(?:-[a-z]+)+-\d+")
_S3_ACTIONS = {
    "GET": "GetObject",
    "HEAD": "GetObject",
    "PUT": "PutObject",
    "DELETE": "DeleteObject",
}
_BECAUSE = {
    Decision.NOT_ALLOWED: "because no identity-based policy allows the {action} action",
    Decision.DENIED: "with an explicit deny in an identity-based policy",
}


@dataclass(frozen=True, slots=True)
class ServiceCall:
    """One request: `sts:AssumeRole` with its parameters, `s3:GetObject` with Bucket and Key."""

    action: str
    parameters: Mapping[str, Any]
    region: str = ""

    @property
    def service(self) -> str:
        """The service's prefix in IAM."""
        return self.action.partition(":")[0]


def read_call(request: Request, body: bytes) -> ServiceCall:
    """Return the call of a request. The action is `?` if it is unknown."""
    host = request.headers.get("host", "")
    found = _REGION.search(host)
    region = found[0] if found else "us-east-1"
    target = request.headers.get("x-amz-target")
    if target is not None:
        service, _, operation = target.partition(".")
        name = f"{_JSON_SERVICES.get(service, service)}:{operation}"
        return ServiceCall(name, json.loads(body or b"{}"), region)
    if host.startswith(("sts.", "sts-fips.", "iam.")):
        form = dict(parse_qsl(body.decode()))
        return ServiceCall(f"{host[:3]}:{form.get('Action', '?')}", form, region)
    return _read_s3_call(request, host, region)


def needed_permission(call: ServiceCall, account: str) -> Permission:
    """Return the permission of a call, without those for encryption keys."""
    parameters = call.parameters
    if call.service == "s3":
        bucket, key = parameters["Bucket"], parameters["Key"]
        return Permission(call.action, f"arn:aws:s3:::{bucket}{f'/{key}' if key else ''}")
    resource = "*"
    if call.service == "secretsmanager":
        secret_id = str(parameters.get("SecretId", "*"))
        prefix = f"arn:aws:secretsmanager:{call.region}:{account}:secret:"
        # the ARN of a name ends in six random characters; `AwsServices` looks up existing ones
        resource = secret_id if secret_id.startswith("arn:") else f"{prefix}{secret_id}-??????"
    elif call.service == "kms":
        key_id = str(parameters.get("KeyId", "*"))
        prefix = f"arn:aws:kms:{call.region}:{account}:key/"
        resource = key_id if key_id.startswith("arn:") or key_id == "*" else f"{prefix}{key_id}"
    elif call.action == "sts:AssumeRole":
        resource = str(parameters.get("RoleArn", "*"))
    return Permission(call.action, resource)


def deny(
    call: ServiceCall, caller_arn: str, permission: Permission, decision: Decision
) -> Response:
    """Return AccessDenied with the message and in the protocol of the call's service."""
    because = _BECAUSE[decision].format(action=permission.action)
    message = (
        f"User: {caller_arn} is not authorized to perform: {permission.action} on resource: "
        f"{permission.resource} {because}"
    )
    if call.service == "s3":
        document = f"<Error><Code>AccessDenied</Code><Message>{message}</Message></Error>"
        return Response(403, {"Content-Type": "application/xml"}, document.encode())
    if call.service in {"sts", "iam"}:
        document = (
            "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>"
            f"<Message>{message}</Message></Error></ErrorResponse>"
        )
        return Response(403, {"Content-Type": "text/xml"}, document.encode())
    error = {"__type": "AccessDeniedException", "Message": message}
    return Response(400, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(error).encode())


def _read_s3_call(request: Request, host: str, region: str) -> ServiceCall:
    bucket_host = _BUCKET_HOST.fullmatch(host)
    path = request.path.lstrip("/")
    if bucket_host is not None:
        bucket, key = bucket_host["bucket"], path
    else:
        bucket, _, key = path.partition("/")
    parameters = {"Bucket": bucket, "Key": key}
    if not key:
        action = "ListBucket" if request.method in {"GET", "HEAD"} else "CreateBucket"
        return ServiceCall(f"s3:{action}", parameters, region)
    action = _S3_ACTIONS.get(request.method, "?")
    # S3 User Guide: a version requires a separate permission
    is_version = request.parameter("versionId") is not None and action == "GetObject"
    return ServiceCall(f"s3:{action}{'Version' if is_version else ''}", parameters, region)
