"""Logins that are kept in AWS Secrets Manager."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ecr_image_replicator.aws.clients import AwsEndpoint
from ecr_image_replicator.aws.operations import Operation
from ecr_image_replicator.errors import AwsError, SecretError
from ecr_image_replicator.request.secret_formats import parse_secret_login

if TYPE_CHECKING:
    from ecr_image_replicator.aws.clients import AwsCaller, Identity
    from ecr_image_replicator.aws.logins import LoginStore
    from ecr_image_replicator.request.logins import Login
    from ecr_image_replicator.request.secret_formats import SecretReference


@dataclass(frozen=True, slots=True)
class SecretCredentials:
    """The login that a secret holds; equal to others of the same secret and identity.

    Attributes
    ----------
    store
        The process's.
    """

    secret: SecretReference
    repository: str
    identity: Identity
    caller: AwsCaller = field(compare=False, repr=False)
    store: LoginStore = field(compare=False, repr=False)

    def find_preemptive(self, registry: str) -> Login | None:  # noqa: ARG002 - the port asks for it
        """Give none: how to sign in is the registry's to say."""
        return None

    def find(self, registry: str) -> Login | None:
        """Read the secret, the first time.

        Raises
        ------
        SecretError
            It is missing, denied, empty or malformed.
        """
        return self.store.find(self._key(registry), lambda: self._read(registry))

    def renew(self, registry: str, rejected: Login) -> Login | None:
        """Read the secret again; None when it has not changed."""
        return self.store.renew(self._key(registry), rejected, lambda: self._read(registry))

    def _key(self, registry: str) -> tuple[object, ...]:
        return ("secret", self.secret, self.identity.role, registry, self.repository)

    def _read(self, registry: str) -> Login:
        parameters = {"SecretId": self.secret.identifier}
        try:
            answer = self.caller.call(
                Operation.READ_SECRET, parameters, AwsEndpoint(self.secret.region)
            )
        except AwsError as error:
            raise self._unreadable(error) from error
        content = answer.get("SecretString") or answer.get("SecretBinary") or ""
        return parse_secret_login(content, self.secret, registry, self.repository)

    def _unreadable(self, error: AwsError) -> SecretError:
        if error.code == "ResourceNotFoundException":
            where = f" in {self.secret.region}" if self.secret.region else ""
            hint = "" if self.secret.region else "; one of another region is named by its ARN"
            return SecretError(f"there is no such thing as {self.secret}{where} ({error}){hint}")
        if error.is_denied or error.code == "DecryptionFailure":
            return SecretError(
                f"{self.secret} may not be read: {error}; grant {self.identity} "
                f"{error.action} on it, and kms:Decrypt if it has a key of its own"
            )
        return SecretError(f"{self.secret} cannot be read: {error}")
