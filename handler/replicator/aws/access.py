"""What the process keeps of AWS between invocations, and opening it for one side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from replicator.aws.clients import AwsCaller, AwsClients, Identity, Place
from replicator.aws.ecr import EcrRepository
from replicator.aws.logins import LoginStore
from replicator.aws.secrets import SecretCredentials
from replicator.aws.sign_in import EcrCredentials, EcrPublicCredentials

if TYPE_CHECKING:
    from replicator.deadline import Deadline
    from replicator.ecr_hosts import EcrRegistry
    from replicator.errors import Side
    from replicator.ports import Credentials
    from replicator.references import ImageReference
    from replicator.retries import RetryPolicy
    from replicator.roles import AssumedRole
    from replicator.secret_forms import SecretReference


class AwsAccess:
    """Clients, roles' sessions and logins of the process; nothing is sent before it is needed."""

    def __init__(self) -> None:
        self._clients = AwsClients()
        self._logins = LoginStore()

    def open_caller(
        self, role: AssumedRole | None, side: Side, *, deadline: Deadline, retry_policy: RetryPolicy
    ) -> AwsCaller:
        """Make calls for one side, as its role or as the function itself."""
        return AwsCaller(
            self._clients, Identity(role, side), deadline=deadline, retry_policy=retry_policy
        )

    def open_secret(self, secret: SecretReference, caller: AwsCaller) -> Credentials:
        """Take a side's login from a secret."""
        return SecretCredentials(secret, caller.identity, caller, self._logins)

    def open_sign_in(self, registry: EcrRegistry, caller: AwsCaller) -> Credentials:
        """Take a side's login from ECR itself."""
        if registry.is_public:
            return EcrPublicCredentials(caller.identity, caller, self._logins)
        place = Place(registry.region, registry.is_fips, registry.is_dual_stack)
        return EcrCredentials(place, caller.identity, caller, self._logins)

    def open_repository(
        self, reference: ImageReference, registry: EcrRegistry, caller: AwsCaller
    ) -> EcrRepository:
        """Take a repository by ECR's API."""
        return EcrRepository(reference, registry, caller)
