"""AWS identities and clients, made when first needed and kept for the process.

The standard variables work: AWS_ENDPOINT_URL and its kin and the proxies' by botocore itself, and
the trust store by the same variables as for registries.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ecr_image_replicator.aws.errors import aws_error
from ecr_image_replicator.aws.operations import Operation
from ecr_image_replicator.errors import AwsError, RoleError, Side

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ecr_image_replicator.deadline import Deadline
    from ecr_image_replicator.request.roles import AssumedRole
    from ecr_image_replicator.retries import RetryPolicy

_CONNECT_TIMEOUT_SECONDS: Final = 5.0
_READ_TIMEOUTS_SECONDS: Final = (20.0, 10.0, 5.0, 2.0, 1.0)
#: STS: RoleSessionName has at most so many characters.
_MAX_SESSION_NAME: Final = 64
_CA_VARIABLES: Final = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


@dataclass(frozen=True, slots=True)
class AwsEndpoint:
    """Where a call goes.

    Attributes
    ----------
    region
        "" for the function's own.
    is_fips, is_dual_stack
        Which of the region's endpoints; an endpoint that is configured by AWS_ENDPOINT_URL or its
        kin stands for all of them.
    """

    region: str = ""
    is_fips: bool = False
    is_dual_stack: bool = False


@dataclass(frozen=True, slots=True)
class Identity:
    """As whom a call is made.

    Attributes
    ----------
    role
        None for the function's own.
    """

    role: AssumedRole | None
    side: Side

    def __str__(self) -> str:
        return f"the role {self.role.arn}" if self.role else "the function's role"


@dataclass(frozen=True, slots=True)
class _Bounds:
    """How long and how often a client tries."""

    read_timeout_seconds: float
    attempts: int

    @classmethod
    def within(cls, remaining_seconds: float, attempts: int) -> _Bounds:
        """Choose so that all attempts fit, as far as they can; few kinds, so few clients."""
        share = remaining_seconds / attempts
        fitting = [seconds for seconds in _READ_TIMEOUTS_SECONDS if seconds <= share]
        return cls(fitting[0], attempts) if fitting else cls(_READ_TIMEOUTS_SECONDS[-1], 1)


class AwsClients:
    """Sessions and clients of every identity that the process has had."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._sessions: dict[Identity, Any] = {}
        self._clients: dict[tuple[object, ...], Any] = {}

    def find(self, service: str, place: AwsEndpoint, identity: Identity, bounds: _Bounds) -> Any:
        """Give the client; nothing is sent yet, not even for a role."""
        # the function's own identity is one for both sides
        owner = identity if identity.role else Identity(None, Side.SOURCE)
        key = (service, place, owner, bounds)
        with self._lock:
            if key not in self._clients:
                self._clients[key] = self._make(service, place, owner, bounds)
            return self._clients[key]

    def _make(self, service: str, place: AwsEndpoint, identity: Identity, bounds: _Bounds) -> Any:
        import botocore.config  # noqa: PLC0415 - slow, and not every copy needs it

        own_endpoint = _has_own_endpoint(service)
        config = botocore.config.Config(
            connect_timeout=min(_CONNECT_TIMEOUT_SECONDS, bounds.read_timeout_seconds),
            read_timeout=bounds.read_timeout_seconds,
            retries={"mode": "adaptive", "total_max_attempts": bounds.attempts},
            use_fips_endpoint=True if place.is_fips and not own_endpoint else None,
            use_dualstack_endpoint=True if place.is_dual_stack and not own_endpoint else None,
        )
        return self._session(identity).client(
            service,
            region_name=place.region or os.environ.get("AWS_REGION"),
            config=config,
            verify=next(filter(None, map(os.environ.get, _CA_VARIABLES)), None),
        )

    def _session(self, identity: Identity) -> Any:
        import boto3  # noqa: PLC0415 - as above

        if identity not in self._sessions:
            self._sessions[identity] = (
                boto3.Session(botocore_session=self._role_session(identity, identity.role))
                if identity.role
                else boto3.Session()
            )
        return self._sessions[identity]

    def _role_session(self, identity: Identity, role: AssumedRole) -> Any:
        """Make a session whose credentials come from STS, first when used and then in time."""
        import botocore.credentials  # noqa: PLC0415 - as above
        import botocore.session  # noqa: PLC0415 - as above

        credentials = botocore.credentials.DeferredRefreshableCredentials(
            refresh_using=lambda: self._assume(identity, role), method="assume-role"
        )

        class Provider(botocore.credentials.CredentialProvider):
            METHOD = "assume-role"

            def load(self) -> Any:
                return credentials

        session = botocore.session.get_session()
        session.register_component(
            "credential_provider",
            botocore.credentials.CredentialResolver(providers=[Provider()]),
        )
        return session

    def _assume(self, identity: Identity, role: AssumedRole) -> Mapping[str, str]:
        """Assume a role, as botocore's refreshable credentials want it.

        Raises
        ------
        RoleError
            The sentence names the role and what STS said.
        """
        bounds = _Bounds(_READ_TIMEOUTS_SECONDS[1], 3)
        own = Identity(None, identity.side)
        client = self.find(Operation.ASSUME_ROLE.service, AwsEndpoint(), own, bounds)
        parameters = {"RoleArn": role.arn, "RoleSessionName": session_name(identity.side)}
        if role.external_id:
            parameters["ExternalId"] = role.external_id
        try:
            found = send(client, Operation.ASSUME_ROLE, parameters, own)["Credentials"]
        except AwsError as error:
            raise RoleError(
                f"the {identity.side}'s role {role.arn} cannot be assumed: {error}; the function's "
                "role needs sts:AssumeRole on it, and its trust policy must allow that"
                + (", with the external id that was given" if role.external_id else "")
            ) from error
        return {
            "access_key": found["AccessKeyId"],
            "secret_key": found["SecretAccessKey"],
            "token": found["SessionToken"],
            "expiry_time": found["Expiration"].isoformat(),
        }


class AwsCaller:
    """Calls AWS as one identity, within one invocation's time.

    Parameters
    ----------
    clients
        The process's.
    identity
        As whom.
    deadline
        The invocation's.
    retry_policy
        How often a call is tried; how long to wait in between is botocore's adaptive mode's.
    """

    def __init__(
        self,
        clients: AwsClients,
        identity: Identity,
        *,
        deadline: Deadline,
        retry_policy: RetryPolicy,
    ) -> None:
        self.identity: Final = identity
        self._clients = clients
        self._deadline = deadline
        self._retry_policy = retry_policy

    def call(
        self,
        operation: Operation,
        parameters: Mapping[str, Any],
        place: AwsEndpoint,
        *,
        most_attempts: int | None = None,
    ) -> Any:
        """Make a call and give its parsed answer.

        Raises
        ------
        AwsError
            It was refused, or never reached its service.
        RoleError
            The identity's role may not be assumed.
        OutOfTimeError
            The deadline has passed.
        """
        self._deadline.check(f"call {operation.action}")
        client = self.open_client(operation.service, place, most_attempts=most_attempts)
        return send(client, operation, parameters, self.identity)

    def open_client(
        self, service: str, place: AwsEndpoint, *, most_attempts: int | None = None
    ) -> Any:
        """Give boto3's client whose attempts fit into the time that is left; nothing is sent."""
        attempts = min(self._retry_policy.attempts, most_attempts or self._retry_policy.attempts)
        bounds = _Bounds.within(self._deadline.remaining_seconds, attempts)
        return self._clients.find(service, place, self.identity, bounds)


def send(
    client: Any, operation: Operation, parameters: Mapping[str, Any], identity: Identity
) -> Any:
    """Make a call with a client.

    Raises
    ------
    AwsError
        It was refused, or never reached its service.
    """
    import botocore  # noqa: PLC0415 - as above
    import botocore.exceptions  # noqa: PLC0415 - as above

    method = getattr(client, botocore.xform_name(operation.api_name))
    try:
        return method(**parameters)
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        raise aws_error(error, operation, str(identity)) from error


def session_name(side: Side) -> str:
    """Name a role's session so that CloudTrail's reader sees which function did it, and for what.

    STS, AssumeRole: at most 64 characters of ``[A-Za-z0-9_+=,.@-]``, as functions' names are.
    """
    function = os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "")
    name = f"ecr-image-replicator-{side}"
    return (f"{name}-{function}" if function else name)[:_MAX_SESSION_NAME]


def _has_own_endpoint(service: str) -> bool:
    variable = f"AWS_ENDPOINT_URL_{service.upper().replace('-', '_')}"
    return bool(os.environ.get(variable) or os.environ.get("AWS_ENDPOINT_URL"))
