"""Authentication to ECR and ECR Public with AWS credentials.

Amazon ECR API reference, GetAuthorizationToken: a token is the Basic credentials for every private
registry in its region that the caller has access to, valid for twelve hours.
"""

from __future__ import annotations

import base64
import binascii
import logging
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from ecr_image_replicator.aws.clients import AwsEndpoint
from ecr_image_replicator.aws.operations import Operation
from ecr_image_replicator.errors import AwsError, CredentialsError, Side
from ecr_image_replicator.model.ecr_hosts import PUBLIC_REGION
from ecr_image_replicator.request.logins import Login

if TYPE_CHECKING:
    from ecr_image_replicator.aws.clients import AwsCaller, Identity
    from ecr_image_replicator.aws.logins import LoginStore
    from ecr_image_replicator.errors import Part

_LOGGER: Final = logging.getLogger(__name__)
_EXPIRY_MARGIN_SECONDS: Final = 300.0
#: Lifetime of a token whose expiry is in the past by this clock; a rejection renews it sooner.
_DEFAULT_LIFETIME_SECONDS: Final = 3600.0
#: How long access stays anonymous after authentication to ECR Public failed.
_ANONYMOUS_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True)
class EcrCredentials:
    """ECR's token for a region; equal for the same endpoint and role, so that they share it.

    Attributes
    ----------
    store
        The process's cache.
    """

    endpoint: AwsEndpoint
    identity: Identity
    caller: AwsCaller = field(compare=False, repr=False)
    store: LoginStore = field(compare=False, repr=False)

    def find_preemptive(self, registry: str) -> Login | None:
        """Return the login: private ECR registries accept Basic authentication only."""
        return self.find(registry)

    def find(self, registry: str) -> Login | None:  # noqa: ARG002 - one token for all of a region
        """Return the token; fetch it if it is not cached or about to expire.

        Raises
        ------
        CredentialsError
            It cannot be fetched.
        """
        return self.store.find(self._key, self._fetch)

    def renew(self, registry: str, rejected: Login) -> Login | None:  # noqa: ARG002 - as above
        """Fetch another token; return None if the rejected one was fetched seconds ago."""
        return self.store.renew(self._key, rejected, self._fetch)

    @property
    def _key(self) -> tuple[object, ...]:
        # without the side: the function's own identity has one token for both endpoints
        return ("ecr", self.endpoint, self.identity.role)

    def _fetch(self) -> Login:
        try:
            response = self.caller.call(Operation.SIGN_IN, {}, self.endpoint)
        except AwsError as error:
            hint: Part | tuple[Part, ...] = error.hint
            if error.is_denied:
                hint = f"Allow {error.action} on *{self.identity.grantee}."
            raise CredentialsError(
                f"authentication failed for ECR in {self.endpoint.region}, the "
                f"{self.identity.side}: {error.action} failed: {error.reason}",
                hint=hint,
            ) from error
        # one element: the token is for all registries that the identity may access
        data = next(iter(response.get("authorizationData") or ()), None)
        return _parse_token(data, f"ECR's token{self.identity.owner}")


@dataclass(frozen=True, slots=True)
class EcrPublicCredentials:
    """ECR Public's token; access is anonymous if the caller lacks the permission.

    Attributes
    ----------
    store
        The process's cache.
    """

    identity: Identity
    caller: AwsCaller = field(compare=False, repr=False)
    store: LoginStore = field(compare=False, repr=False)

    def find_preemptive(self, registry: str) -> Login | None:  # noqa: ARG002 - the port's
        """Return None: ECR Public's challenge names its token service."""
        return None

    def find(self, registry: str) -> Login | None:  # noqa: ARG002 - one token for all repositories
        """Return the token, None for anonymous access."""
        return _or_anonymous(self.store.find(self._key, self._fetch))

    def renew(self, registry: str, rejected: Login) -> Login | None:  # noqa: ARG002 - as above
        """Fetch another token; return None if the rejected one was fetched seconds ago."""
        renewed = self.store.renew(self._key, rejected, self._fetch)
        return _or_anonymous(renewed) if renewed else None

    @property
    def _key(self) -> tuple[object, ...]:
        return ("ecr-public", self.identity.role)

    def _fetch(self) -> Login:
        try:
            response = self.caller.call(
                Operation.SIGN_IN_PUBLICLY,
                {},
                AwsEndpoint(PUBLIC_REGION),
                max_attempts=2,
                # a push needs the token, a pull works without it
                waits_for_permission=self.identity.side is Side.DESTINATION,
            )
        except AwsError as error:
            _LOGGER.info("access to ECR Public is anonymous: %s", error)
            return Login("", "", "", expires_at=time.monotonic() + _ANONYMOUS_SECONDS)
        origin = f"ECR Public's token{self.identity.owner}"
        return _parse_token(response.get("authorizationData"), origin, is_optional=True)


def _or_anonymous(login: Login) -> Login | None:
    return login if login.password else None


def _parse_token(data: Any, origin: str, *, is_optional: bool = False) -> Login:
    """Read the AuthorizationData of a response."""
    try:
        username, _, password = base64.b64decode(data["authorizationToken"]).decode().partition(":")
    except (KeyError, TypeError, ValueError, binascii.Error):
        password = username = ""
    if not username or not password:
        raise CredentialsError(f"authentication failed: {origin} is invalid")
    return Login(
        username,
        password,
        origin,
        expires_at=time.monotonic() + _lifetime_seconds(data.get("expiresAt")),
        is_optional=is_optional,
    )


def _lifetime_seconds(expires_at: object) -> float:
    if isinstance(expires_at, datetime):
        seconds = expires_at.timestamp() - time.time() - _EXPIRY_MARGIN_SECONDS
        if seconds > 0:
            return seconds
    return _DEFAULT_LIFETIME_SECONDS
