"""STS, Secrets Manager, S3, KMS and IAM: moto, behind the hosts' real names.

moto keeps its accounts in the process: two of these at once share what is in them.
"""

from __future__ import annotations

import io
import re
import sys
import threading
from dataclasses import replace

from local.aws_actions import ServiceCall, read_call, refuse
from local.ecr import Caller
from local.ecr.callers import parse_signature
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


class AwsServices:
    """The services beside ECR. moto is imported with the first request; `reset` empties it.

    `roles` are the ARNs that may be assumed and the external id that each wants, None for none; no
    other role may. `denied_actions` are IAM actions, `secretsmanager:GetSecretValue`, that nobody
    may perform.
    """

    def __init__(self) -> None:
        self.roles: dict[str, str | None] = {}
        self.denied_actions: set[str] = set()
        self._calls: list[ServiceCall] = []
        self._moto: WsgiApplication | None = None
        self._lock = threading.Lock()

    @property
    def calls(self) -> tuple[ServiceCall, ...]:
        """Every request so far, refused ones too."""
        with self._lock:
            return tuple(self._calls)

    def clear_calls(self) -> None:
        """Forget the requests so far."""
        with self._lock:
            self._calls.clear()

    def application(self, host: str) -> Application | None:
        """Return what answers at a host, None when it is not one of these services'."""
        known = _SERVICE_HOST.fullmatch(host) or _S3_HOST.fullmatch(host)
        return self._answer if known else None

    def find_caller(self, access_key_id: str) -> Caller | None:
        """Return whose an access key is: the account's, a user's, a session's or nobody's."""
        from moto.iam.models import (  # noqa: PLC0415 - moto is slow to import
            get_account_id_from,
            iam_backends,
        )
        from moto.sts.models import sts_backends  # noqa: PLC0415 - the same

        account = get_account_id_from(access_key_id)
        issued = access_key_id in iam_backends[account]["aws"].access_keys
        if not issued and access_key_id != ACCESS_KEY_ID:
            return None
        backend = sts_backends[account]["aws"]
        _, arn, account = backend.get_caller_identity(access_key_id, "us-east-1")
        return Caller(account, arn)

    def reset(self) -> None:
        """Forget every bucket, secret, role and key."""
        if "moto.core.base_backend" not in sys.modules:
            return  # nothing has been put anywhere yet, and importing it takes a second
        from moto.moto_api._internal.models import moto_api_backend  # noqa: PLC0415 - slow

        moto_api_backend.reset()

    def _answer(self, request: Request) -> Response:
        body = read_body(request, _BODY_LIMIT_BYTES)
        call = read_call(request, body)
        with self._lock:
            self._calls.append(call)
        if call.action in self.denied_actions or not self._may_assume(call):
            signature = parse_signature(request.headers.get("authorization"))
            caller = self.find_caller(signature.access_key_id if signature else "")
            return refuse(call, caller.arn if caller else "anonymous")
        whole = replace(request, body=io.BytesIO(body), content_length=len(body))
        return self._started_moto()(whole)

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
