"""Logins in AWS Secrets Manager."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ecr_image_replicator.aws.clients import AwsEndpoint
from ecr_image_replicator.aws.operations import Operation
from ecr_image_replicator.errors import AwsError, SecretError
from ecr_image_replicator.request.credentials import CREDENTIALS_SETTINGS
from ecr_image_replicator.request.secret_formats import parse_secret_login

if TYPE_CHECKING:
    from ecr_image_replicator.aws.clients import AwsCaller, Identity
    from ecr_image_replicator.aws.logins import LoginStore
    from ecr_image_replicator.errors import Part
    from ecr_image_replicator.request.logins import Login
    from ecr_image_replicator.request.secret_formats import SecretReference


@dataclass(frozen=True, slots=True)
class SecretCredentials:
    """The login for a repository in a secret; equal for the same secret and identity.

    Attributes
    ----------
    repository
        Chooses among the entries of a Docker configuration.
    store
        The process's cache.
    """

    secret: SecretReference
    repository: str
    identity: Identity
    caller: AwsCaller = field(compare=False, repr=False)
    store: LoginStore = field(compare=False, repr=False)

    def find_preemptive(self, registry: str) -> Login | None:  # noqa: ARG002 - the port's
        """Return None: the registry's challenge says how to authenticate."""
        return None

    def find(self, registry: str) -> Login | None:
        """Return the login; read the secret if it is not cached.

        Raises
        ------
        SecretError
            The secret is missing, denied, empty or malformed.
        """
        return self.store.find(self._key(registry), lambda: self._read(registry))

    def renew(self, registry: str, rejected: Login) -> Login | None:
        """Read the secret again; return None if it has not changed."""
        return self.store.renew(self._key(registry), rejected, lambda: self._read(registry))

    def _key(self, registry: str) -> tuple[object, ...]:
        return ("secret", self.secret, self.identity.role, registry, self.repository)

    def _read(self, registry: str) -> Login:
        parameters = {"SecretId": self.secret.identifier}
        try:
            response = self.caller.call(
                Operation.READ_SECRET, parameters, AwsEndpoint(self.secret.region)
            )
        except AwsError as error:
            raise self._unreadable(error) from error
        content = response.get("SecretString") or response.get("SecretBinary") or ""
        return parse_secret_login(content, self.secret, registry, self.repository)

    def _unreadable(self, error: AwsError) -> SecretError:
        hint: Part | tuple[Part, ...] = error.hint
        if error.code == "ResourceNotFoundException":
            hint = "Check the name; a secret of another region or account is named by its ARN."
        elif error.is_denied or error.code == "DecryptionFailure":
            hint = (
                f"Allow {error.action} on the secret{self.identity.grantee}, and kms:Decrypt if it "
                "is encrypted with a customer managed key."
            )
        return SecretError(
            f"cannot read {self.secret} in ",
            CREDENTIALS_SETTINGS[self.identity.side],
            f": {error.action} failed: {error.reason}",
            hint=hint,
        )
