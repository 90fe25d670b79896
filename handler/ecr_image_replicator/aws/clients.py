"""boto3 clients by identity, created when first needed and cached for the life of the process.

botocore reads the standard variables itself: AWS_ENDPOINT_URL and its kin, and the proxies'. The
trust store comes from the same variables as for registries.
"""

from __future__ import annotations

import itertools
import os
import threading
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from ecr_image_replicator.aws.errors import aws_error, role_error
from ecr_image_replicator.aws.operations import Operation
from ecr_image_replicator.errors import AwsError, RoleError, Side
from ecr_image_replicator.no_proxy import is_exempt, names_proxies
from ecr_image_replicator.trust_store import find_trust_store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ecr_image_replicator.deadline import Deadline
    from ecr_image_replicator.propagation import PermissionPropagation
    from ecr_image_replicator.request.roles import AssumedRole
    from ecr_image_replicator.retries import RetryPolicy

_CONNECT_TIMEOUT_SECONDS: Final = 5.0
_READ_TIMEOUTS_SECONDS: Final = (20.0, 10.0, 5.0, 2.0, 1.0)
#: The most recently used identities keep their session and clients: 1 MB each, with S3.
_MAX_IDENTITIES: Final = 32
#: STS, AssumeRole: the maximum length of RoleSessionName.
_MAX_SESSION_NAME: Final = 64


class AwsEndpoint(NamedTuple):
    """The regional endpoint that a call goes to.

    Attributes
    ----------
    region
        "" for the function's own.
    is_fips, is_dual_stack
        The kind of endpoint; ignored if AWS_ENDPOINT_URL or its kin configure the endpoint.
    """

    region: str = ""
    is_fips: bool = False
    is_dual_stack: bool = False


class Identity(NamedTuple):
    """The principal of a call.

    Attributes
    ----------
    role
        None for the function's own identity.
    """

    role: AssumedRole | None
    side: Side

    @property
    def owner(self) -> str:
        """The role for messages, with a preposition; "" for the function's own identity."""
        return f" of the role {self.role.arn}" if self.role else ""

    @property
    def grantee(self) -> str:
        """The role that needs a permission, for messages; "" for the function's own identity."""
        return f" to the role {self.role.arn}" if self.role else ""


class _Timeouts(NamedTuple):
    """Timeout and number of attempts of a client."""

    read_timeout_seconds: float
    attempts: int

    @classmethod
    def within(cls, remaining_seconds: float, attempts: int) -> _Timeouts:
        """Choose among few values, so that all attempts fit and few clients are created."""
        share = remaining_seconds / attempts
        fitting = [seconds for seconds in _READ_TIMEOUTS_SECONDS if seconds <= share]
        return cls(fitting[0], attempts) if fitting else cls(_READ_TIMEOUTS_SECONDS[-1], 1)


class AwsClients:
    """Sessions and clients of the identities that the process used last."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        #: The least recently used one first.
        self._sessions: dict[Identity, Any] = {}
        self._clients: dict[Identity, dict[tuple[object, ...], Any]] = {}
        self._loader: Any = None

    def find(
        self, service: str, endpoint: AwsEndpoint, identity: Identity, timeouts: _Timeouts
    ) -> Any:
        """Return a client; create it if it is not cached. Nothing is sent yet."""
        # the function's own identity is the same for both endpoints
        owner = identity if identity.role else Identity(None, Side.SOURCE)
        key = (service, endpoint, timeouts)
        with self._lock:
            session = self._use_session(owner)
            clients = self._clients.setdefault(owner, {})
            if key not in clients:
                clients[key] = self._create(service, endpoint, session, timeouts)
            return clients[key]

    def _create(
        self, service: str, endpoint: AwsEndpoint, session: Any, timeouts: _Timeouts
    ) -> Any:
        import botocore.config  # noqa: PLC0415 - slow, and not every copy needs it

        trust_store = find_trust_store()
        own_endpoint = _has_own_endpoint(service)
        config = botocore.config.Config(
            connect_timeout=min(_CONNECT_TIMEOUT_SECONDS, timeouts.read_timeout_seconds),
            read_timeout=timeouts.read_timeout_seconds,
            retries={"mode": "adaptive", "total_max_attempts": timeouts.attempts},
            use_fips_endpoint=True if endpoint.is_fips and not own_endpoint else None,
            use_dualstack_endpoint=True if endpoint.is_dual_stack and not own_endpoint else None,
        )

        def create(config: Any) -> Any:
            return session.client(
                service,
                region_name=endpoint.region or os.environ.get("AWS_REGION"),
                config=config,
                verify=trust_store.path if trust_store.variable else None,
            )

        client = create(config)
        if names_proxies(os.environ) and _is_direct(client.meta.endpoint_url):
            client = create(config.merge(botocore.config.Config(proxies={})))
        if trust_store.is_directory:
            _read_certificates_from(trust_store.path, client)
        return client

    def _use_session(self, identity: Identity) -> Any:
        """Return an identity's session, and forget the one that was not used for longest."""
        if identity not in self._sessions:
            session = self._new_session(identity)
            if len(self._sessions) >= _MAX_IDENTITIES:
                oldest = next(iter(self._sessions))
                del self._sessions[oldest]
                self._clients.pop(oldest, None)
        else:
            session = self._sessions.pop(identity)
        self._sessions[identity] = session
        return session

    def _new_session(self, identity: Identity) -> Any:
        import boto3  # noqa: PLC0415 - as above
        import botocore.session  # noqa: PLC0415 - as above

        own = botocore.session.get_session()
        if identity.role:
            self._assume_with(own, identity, identity.role)
        session = boto3.Session(botocore_session=own)
        # parsed models of services take 9 MB: one loader has them for all sessions
        self._loader = self._loader or own.get_component("data_loader")
        own.register_component("data_loader", self._loader)
        return session

    def _assume_with(self, session: Any, identity: Identity, role: AssumedRole) -> None:
        """Make a session assume the role with its first call, and renew in time."""
        import botocore.credentials  # noqa: PLC0415 - as above

        credentials = botocore.credentials.DeferredRefreshableCredentials(
            refresh_using=lambda: self._assume(identity, role), method="assume-role"
        )

        class Provider(botocore.credentials.CredentialProvider):
            METHOD = "assume-role"

            def load(self) -> Any:
                return credentials

        session.register_component(
            "credential_provider",
            botocore.credentials.CredentialResolver(providers=[Provider()]),
        )

    def _assume(self, identity: Identity, role: AssumedRole) -> Mapping[str, str]:
        """Assume a role; return its credentials as botocore's refreshable credentials expect.

        Raises
        ------
        RoleError
            STS rejected the call, cannot be reached, or returned incomplete credentials.
        """
        timeouts = _Timeouts(_READ_TIMEOUTS_SECONDS[1], 3)
        own = Identity(None, identity.side)
        parameters = {"RoleArn": role.arn, "RoleSessionName": session_name(identity.side)}
        if role.external_id:
            parameters["ExternalId"] = role.external_id
        try:
            found = self.send(Operation.ASSUME_ROLE, parameters, AwsEndpoint(), own, timeouts)
        except AwsError as error:
            raise role_error(error, identity.side, role) from error
        try:
            credentials = found["Credentials"]
            return {
                "access_key": credentials["AccessKeyId"],
                "secret_key": credentials["SecretAccessKey"],
                "token": credentials["SessionToken"],
                "expiry_time": credentials["Expiration"].isoformat(),
            }
        except KeyError as error:
            raise RoleError(
                f"cannot assume the role {role.arn} for the {identity.side}: invalid response: "
                f"STS returned no {error.args[0]}"
            ) from error

    def send(
        self,
        operation: Operation,
        parameters: Mapping[str, Any],
        endpoint: AwsEndpoint,
        identity: Identity,
        timeouts: _Timeouts,
    ) -> Any:
        """Make a call and return its parsed response.

        Raises
        ------
        AwsError
            The service rejected the call, cannot be reached or returned an invalid response, or the
            configuration is incomplete.
        """
        import botocore  # noqa: PLC0415 - as above
        import botocore.exceptions  # noqa: PLC0415 - as above
        import botocore.parsers  # noqa: PLC0415 - as above

        try:
            client = self.find(operation.service, endpoint, identity, timeouts)
        except (botocore.exceptions.BotoCoreError, ValueError) as error:
            raise aws_error(error, operation) from error
        try:
            return getattr(client, botocore.xform_name(operation.api_name))(**parameters)
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
            raise aws_error(error, operation) from error
        except (
            AttributeError,
            LookupError,
            RecursionError,
            UnicodeDecodeError,
            botocore.parsers.ResponseParserError,
        ) as error:
            # botocore does not check a response's form, and follows redirects without a limit
            looped = isinstance(error, RecursionError)
            reason = "every request was redirected" if looped else "invalid response"
            raise AwsError(
                f"{operation.action} failed: {reason}", action=operation.action, reason=reason
            ) from error


class AwsCaller:
    """Calls of AWS APIs with one identity, within the time of one invocation.

    Parameters
    ----------
    clients
        The process's.
    identity
        The principal.
    deadline
        The invocation's.
    retry_policy
        The number of attempts; botocore's adaptive mode sets the delay between them.
    propagation
        Retries of denials; None if a denial is final.
    """

    def __init__(
        self,
        clients: AwsClients,
        identity: Identity,
        *,
        deadline: Deadline,
        retry_policy: RetryPolicy,
        propagation: PermissionPropagation | None = None,
    ) -> None:
        self.identity: Final = identity
        self._clients = clients
        self._deadline = deadline
        self._retry_policy = retry_policy
        self._propagation = propagation

    def call(
        self,
        operation: Operation,
        parameters: Mapping[str, Any],
        endpoint: AwsEndpoint,
        *,
        max_attempts: int | None = None,
        waits_for_permission: bool = True,
    ) -> Any:
        """Make a call and return its parsed response.

        Parameters
        ----------
        max_attempts
            If lower than the retry policy's.
        waits_for_permission
            Whether a denial is retried while a new permission may still take effect. False for
            calls that the program can do without.

        Raises
        ------
        AwsError
            The service rejected the call or cannot be reached.
        RoleError
            The identity's role cannot be assumed.
        OutOfTimeError
            The deadline has passed.
        """
        attempts = min(self._retry_policy.attempts, max_attempts or self._retry_policy.attempts)
        for denials in itertools.count(1):
            self._deadline.check(f"call {operation.action}")
            timeouts = _Timeouts.within(self._deadline.remaining_seconds, attempts)
            try:
                return self._clients.send(operation, parameters, endpoint, self.identity, timeouts)
            except (AwsError, RoleError) as error:
                if not waits_for_permission or not self._waited(denials, error):
                    raise
        raise AssertionError  # itertools.count has no end

    def open_client(self, service: str, endpoint: AwsEndpoint) -> Any:
        """Return a boto3 client whose attempts fit into the remaining time; nothing is sent."""
        timeouts = _Timeouts.within(self._deadline.remaining_seconds, self._retry_policy.attempts)
        return self._clients.find(service, endpoint, self.identity, timeouts)

    def _waited(self, denials: int, error: AwsError | RoleError) -> bool:
        """Wait if the error is a denial that may pass; return whether to try again."""
        cause = error if isinstance(error, AwsError) else error.__cause__
        if self._propagation is None or not isinstance(cause, AwsError):
            return False
        if not cause.is_denied or cause.is_explicit_deny:
            return False
        return self._propagation.wait_after(denials, str(error))


def _is_direct(url: str) -> bool:
    """Return whether an endpoint is reached without a proxy; botocore has fewer rules for it."""
    parts = urlsplit(url)
    return is_exempt(parts.hostname or "", parts.port or (80 if parts.scheme == "http" else 443))


def session_name(side: Side) -> str:
    """Return a role session's name, which shows in CloudTrail: the endpoint and the function.

    STS, AssumeRole: at most 64 characters of ``[A-Za-z0-9_+=,.@-]``, as in functions' names.
    """
    function = os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "")
    name = f"ecr-image-replicator-{side}"
    return (f"{name}-{function}" if function else name)[:_MAX_SESSION_NAME]


def _has_own_endpoint(service: str) -> bool:
    variable = f"AWS_ENDPOINT_URL_{service.upper().replace('-', '_')}"
    return bool(os.environ.get(variable) or os.environ.get("AWS_ENDPOINT_URL"))


def _read_certificates_from(directory: str, client: Any) -> None:
    """Make a client trust the certificates in a directory; botocore's setting takes files only."""
    session = client._endpoint.http_session  # noqa: SLF001 - the client has no other way to it
    set_up = session._setup_ssl_cert  # noqa: SLF001 - as above

    def set_up_directory(connection: Any, url: str, verify: Any) -> None:
        set_up(connection, url, verify)
        if connection.ca_certs is not None:
            connection.ca_certs, connection.ca_cert_dir = None, directory

    session._setup_ssl_cert = set_up_directory  # noqa: SLF001 - as above
