"""STS, Secrets Manager, S3, KMS and IAM with their real host names, implemented by moto.

moto has one set of accounts per process: concurrent instances share it.
"""

from __future__ import annotations

import io
import re
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from local.aws_actions import ServiceCall, deny, needed_permission, read_call
from local.denials import Denials
from local.ecr import Caller
from local.ecr.callers import parse_signature
from local.permissions import Decision, IdentityPolicies, Permission
from local.web import Application, Request, Response, WsgiApplication, read_body

ACCESS_KEY_ID = "AKIALOOPBACKEXAMPLE1"
"""The default account's own."""

_REGION = r"[a-z]{2,4}(?:-[a-z]+)+-\d+"
_SUFFIX = r"(?:amazonaws\.com(?:\.cn)?|api\.aws)"
_SERVICE_HOST = re.compile(rf"(?:sts|secretsmanager|kms|iam)(?:-fips)?(?:\.{_REGION})?\.{_SUFFIX}")
_S3_HOST = re.compile(
    rf"(?:[a-z0-9][a-z0-9.-]+\.)?s3(?:-fips)?(?:\.dualstack)?(?:[.-]{_REGION})?\.{_SUFFIX}"
)
_BODY_LIMIT_BYTES = 1024 * 1024 * 1024
_MANAGED_KEY = re.compile(r".*alias/aws/.*")


class AwsServices:
    """The services other than ECR. The first request imports moto; `reset` deletes its content.

    `roles` are the ARNs that can be assumed, with their required external ID or None.
    `denials` are the IAM actions that are denied to all callers, or for their next calls.
    `policies` are the identity policies of roles.
    """

    def __init__(self, policies: IdentityPolicies | None = None) -> None:
        self.roles: dict[str, str | None] = {}
        self.denials = Denials()
        self.policies = policies or IdentityPolicies()
        self._calls: list[ServiceCall] = []
        self._moto: WsgiApplication | None = None
        self._lock = threading.Lock()

    @property
    def denied_actions(self) -> set[str]:
        """The IAM actions that are denied to all callers. Can be changed."""
        return self.denials.actions

    @property
    def calls(self) -> tuple[ServiceCall, ...]:
        """All requests, including denied ones."""
        with self._lock:
            return tuple(self._calls)

    def clear_calls(self) -> None:
        """Clear the list of requests."""
        with self._lock:
            self._calls.clear()

    def application(self, host: str) -> Application | None:
        """Return the application for a host, None if it is not one of these services'."""
        known = _SERVICE_HOST.fullmatch(host) or _S3_HOST.fullmatch(host)
        return self._respond if known else None

    def find_caller(self, access_key_id: str) -> Caller | None:
        """Return the principal of an access key (account, user or session), or None."""
        from moto.iam.models import (  # noqa: PLC0415 - moto is slow to import
            get_account_id_from,
            iam_backends,
        )
        from moto.sts.models import sts_backends  # noqa: PLC0415 - moto is slow to import

        account = get_account_id_from(access_key_id)
        issued = access_key_id in iam_backends[account]["aws"].access_keys
        if not issued and access_key_id != ACCESS_KEY_ID:
            return None
        backend = sts_backends[account]["aws"]
        _, arn, account = backend.get_caller_identity(access_key_id, "us-east-1")
        return Caller(account, arn)

    def reset(self) -> None:
        """Delete all buckets, secrets, roles and keys."""
        if "moto.core.base_backend" not in sys.modules:
            return  # without an import there is no content, and importing takes a second
        from moto.moto_api._internal.models import moto_api_backend  # noqa: PLC0415 - slow

        moto_api_backend.reset()

    def _respond(self, request: Request) -> Response:
        body = read_body(request, _BODY_LIMIT_BYTES)
        call = read_call(request, body)
        with self._lock:
            self._calls.append(call)
        signature = parse_signature(request.headers.get("authorization"))
        caller = self.find_caller(signature.access_key_id if signature else "")
        for permission in self._needed(call, caller):
            decision = self._decide(permission, caller)
            if decision is not Decision.ALLOWED:
                return deny(call, caller.arn if caller else "anonymous", permission, decision)
        if not self._may_assume(call):
            denied = Permission(call.action, str(call.parameters.get("RoleArn")))
            return deny(call, caller.arn if caller else "anonymous", denied, Decision.NOT_ALLOWED)
        whole = replace(request, body=io.BytesIO(body), content_length=len(body))
        response = self._started_moto()(whole)
        if call.service == "s3" and response.status == 404 and call.parameters["Key"]:
            # S3 User Guide: without s3:ListBucket, a missing object is AccessDenied
            bucket = Permission("s3:ListBucket", f"arn:aws:s3:::{call.parameters['Bucket']}")
            decision = self._decide(bucket, caller)
            if decision is not Decision.ALLOWED:
                return deny(call, caller.arn if caller else "anonymous", bucket, decision)
        return response

    def _decide(self, permission: Permission, caller: Caller | None) -> Decision:
        denied = self.denials.take(permission.action)
        if denied is not None:
            return denied
        return self.policies.decide(caller.arn, permission) if caller else Decision.ALLOWED

    def _needed(self, call: ServiceCall, caller: Caller | None) -> Iterator[Permission]:
        """Yield the permissions that a call requires, the one for its encryption key last."""
        account = caller.account if caller else ""
        if call.action == "sts:GetCallerIdentity":
            return  # needs no permission
        permission = needed_permission(call, account)
        stored = self._find_stored(call, account)
        if call.service == "secretsmanager" and stored is not None:
            permission = replace(permission, resource=str(stored.arn))
        yield permission
        key = str(getattr(stored, "kms_key_id", None) or "")
        if key and not _MANAGED_KEY.fullmatch(key):
            via = f"{call.service}.{call.region}.amazonaws.com"
            arn = (
                key if key.startswith("arn:") else f"arn:aws:kms:{call.region}:{account}:key/{key}"
            )
            yield Permission("kms:Decrypt", arn, {"kms:ViaService": via})

    def _find_stored(self, call: ServiceCall, account: str) -> Any:
        """Return moto's secret or object that a call reads, or None."""
        if call.action == "secretsmanager:GetSecretValue":
            from moto.secretsmanager.models import (  # noqa: PLC0415 - moto is slow to import
                secretsmanager_backends,
            )

            secrets = secretsmanager_backends[account][call.region].secrets
            return secrets.get(str(call.parameters.get("SecretId")))
        if call.action in {"s3:GetObject", "s3:GetObjectVersion"}:
            from moto.s3.models import s3_backends  # noqa: PLC0415 - moto is slow to import

            bucket = s3_backends[account]["aws"].buckets.get(call.parameters["Bucket"])
            return bucket.keys.get(call.parameters["Key"]) if bucket is not None else None
        return None

    def _may_assume(self, call: ServiceCall) -> bool:
        if call.action != "sts:AssumeRole":
            return True
        role = call.parameters.get("RoleArn")
        wanted = self.roles.get(str(role))
        return role in self.roles and wanted in {None, call.parameters.get("ExternalId")}

    def _started_moto(self) -> WsgiApplication:
        with self._lock:
            if self._moto is None:
                from moto.moto_server.werkzeug_app import (  # noqa: PLC0415 - moto is slow to import
                    DomainDispatcherApplication,
                    create_backend_app,
                )

                self._moto = WsgiApplication(DomainDispatcherApplication(create_backend_app))
            return self._moto
