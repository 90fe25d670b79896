"""STS, Secrets Manager, S3, KMS and IAM: moto, behind the hosts' real names.

moto keeps its accounts in the process: two of these at once share what is in them.
"""

from __future__ import annotations

import re
import sys
import threading

from local.ecr import Caller
from local.web import Application, Request, Response, WsgiApplication

_REGION = r"[a-z]{2,4}(?:-[a-z]+)+-\d+"
_SUFFIX = r"(?:amazonaws\.com(?:\.cn)?|api\.aws)"
_SERVICE_HOST = re.compile(rf"(?:sts|secretsmanager|kms|iam)(?:-fips)?(?:\.{_REGION})?\.{_SUFFIX}")
_S3_HOST = re.compile(
    rf"(?:[a-z0-9][a-z0-9.-]+\.)?s3(?:-fips)?(?:\.dualstack)?(?:[.-]{_REGION})?\.{_SUFFIX}"
)


class AwsServices:
    """The services beside ECR. moto is imported with the first request; `reset` empties it."""

    def __init__(self) -> None:
        self._moto: WsgiApplication | None = None
        self._lock = threading.Lock()

    def application(self, host: str) -> Application | None:
        """Return what answers at a host, None when it is not one of these services'."""
        known = _SERVICE_HOST.fullmatch(host) or _S3_HOST.fullmatch(host)
        return self._answer if known else None

    def find_caller(self, access_key_id: str) -> Caller | None:
        """Return whose an access key is: a role's session, a user, or the default account's."""
        from moto.iam.models import get_account_id_from  # noqa: PLC0415 - moto is slow to import
        from moto.sts.models import sts_backends  # noqa: PLC0415 - the same

        account = get_account_id_from(access_key_id)
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
        with self._lock:
            if self._moto is None:
                from moto.moto_server.werkzeug_app import (  # noqa: PLC0415 - the same
                    DomainDispatcherApplication,
                    create_backend_app,
                )

                self._moto = WsgiApplication(DomainDispatcherApplication(create_backend_app))
        return self._moto(request)
