"""Signing in to ECR and ECR Public with AWS credentials instead of a password.

Amazon ECR API reference, GetAuthorizationToken: a token is the Basic credentials of every private
registry in its region that the caller may reach, for twelve hours.
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
from ecr_image_replicator.errors import AwsError, CredentialsError
from ecr_image_replicator.model.ecr_hosts import PUBLIC_REGION
from ecr_image_replicator.request.logins import Login

if TYPE_CHECKING:
    from ecr_image_replicator.aws.clients import AwsCaller, Identity
    from ecr_image_replicator.aws.logins import LoginStore

_LOGGER: Final = logging.getLogger(__name__)
_EXPIRY_MARGIN_SECONDS: Final = 300.0
#: A token whose expiry makes no sense by this clock is used so long, or until it is refused.
_DEFAULT_LIFETIME_SECONDS: Final = 3600.0
#: After a failed sign-in to ECR Public, visits stay anonymous so long before it is tried again.
_ANONYMOUS_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True)
class EcrCredentials:
    """ECR's own sign-in; equal to others of the same region and identity, who share its token.

    Attributes
    ----------
    store
        The process's.
    """

    place: AwsEndpoint
    identity: Identity
    caller: AwsCaller = field(compare=False, repr=False)
    store: LoginStore = field(compare=False, repr=False)

    def find_preemptive(self, registry: str) -> Login | None:
        """Give the login at once: ECR's registries take Basic and nothing else."""
        return self.find(registry)

    def find(self, registry: str) -> Login | None:  # noqa: ARG002 - a token is for all of a region
        """Sign in, the first time and when the token is about to expire.

        Raises
        ------
        CredentialsError
            The caller may not.
        """
        return self.store.find(self._key, self._sign_in)

    def renew(self, registry: str, rejected: Login) -> Login | None:  # noqa: ARG002 - as above
        """Sign in again; None when the refused token was a fresh one."""
        return self.store.renew(self._key, rejected, self._sign_in)

    @property
    def _key(self) -> tuple[object, ...]:
        # the function's own identity has one token for both sides
        return ("ecr", self.place, self.identity.role)

    def _sign_in(self) -> Login:
        try:
            answer = self.caller.call(Operation.SIGN_IN, {}, self.place)
            return _parse_token(answer["authorizationData"][0], self._origin)
        except AwsError as error:
            raise CredentialsError(
                f"the {self.identity.side} registry is ECR in {self.place.region}, and signing in "
                f"to it failed: {error}"
                + (f"; grant {self.identity} {error.action}" if error.is_denied else "")
            ) from error

    @property
    def _origin(self) -> str:
        return f"ECR's sign-in by {self.identity}"


@dataclass(frozen=True, slots=True)
class EcrPublicCredentials:
    """ECR Public's sign-in, which visits do without when the caller may not have it.

    Attributes
    ----------
    store
        The process's.
    """

    identity: Identity
    caller: AwsCaller = field(compare=False, repr=False)
    store: LoginStore = field(compare=False, repr=False)

    def find_preemptive(self, registry: str) -> Login | None:  # noqa: ARG002 - the port asks for it
        """Give none: ECR Public has a token service, which its challenge names."""
        return None

    def find(self, registry: str) -> Login | None:  # noqa: ARG002 - one token is for all of it
        """Sign in if that is allowed; None for an anonymous visit."""
        return _or_anonymous(self.store.find(self._key, self._sign_in))

    def renew(self, registry: str, rejected: Login) -> Login | None:  # noqa: ARG002 - as above
        """Sign in again; None when the refused token was a fresh one."""
        renewed = self.store.renew(self._key, rejected, self._sign_in)
        return _or_anonymous(renewed) if renewed else None

    @property
    def _key(self) -> tuple[object, ...]:
        return ("ecr-public", self.identity.role)

    def _sign_in(self) -> Login:
        try:
            answer = self.caller.call(
                Operation.SIGN_IN_PUBLICLY, {}, AwsEndpoint(PUBLIC_REGION), most_attempts=2
            )
            return _parse_token(
                answer["authorizationData"],
                f"ECR Public's sign-in by {self.identity}",
                is_optional=True,
            )
        except AwsError as error:
            _LOGGER.info("ECR Public is visited anonymously: %s", error)
            return Login("", "", "", expires_at=time.monotonic() + _ANONYMOUS_SECONDS)


def _or_anonymous(login: Login) -> Login | None:
    return login if login.password else None


def _parse_token(data: Any, origin: str, *, is_optional: bool = False) -> Login:
    """Read AuthorizationData."""
    try:
        username, _, password = base64.b64decode(data["authorizationToken"]).decode().partition(":")
    except (KeyError, TypeError, ValueError, binascii.Error):
        password = username = ""
    if not username or not password:
        raise CredentialsError(f"{origin} brought no token")
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
