"""AWS clients, sessions of roles and logins, cached for the life of the process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ecr_image_replicator.aws.clients import AwsCaller, AwsClients, AwsEndpoint, Identity
from ecr_image_replicator.aws.logins import LoginStore
from ecr_image_replicator.aws.secrets import SecretCredentials
from ecr_image_replicator.aws.sign_in import EcrCredentials, EcrPublicCredentials
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.errors import Side
from ecr_image_replicator.retries import RetryPolicy

if TYPE_CHECKING:
    from ecr_image_replicator.model.ecr_hosts import EcrRegistry
    from ecr_image_replicator.propagation import PermissionPropagation
    from ecr_image_replicator.request.logins import Credentials
    from ecr_image_replicator.request.roles import AssumedRole
    from ecr_image_replicator.request.secret_formats import SecretReference

#: The longest time of an invocation.
_PREPARED_SECONDS: Final = 900.0


class AwsAccess:
    """Callers and credentials for the endpoints; nothing is sent before it is needed."""

    def __init__(self) -> None:
        self._clients = AwsClients()
        self._logins = LoginStore()

    def prepare(self, region: str) -> None:
        """Create the session and the client that sign in to ECR in a region; nothing is sent."""
        own = Identity(None, Side.SOURCE)
        # a client has the timeouts of its first call: those of a request without RetryConfigs
        caller = AwsCaller(
            self._clients, own, deadline=Deadline(_PREPARED_SECONDS), retry_policy=RetryPolicy()
        )
        caller.open_client("ecr", AwsEndpoint(region))

    def open_caller(
        self,
        role: AssumedRole | None,
        side: Side,
        *,
        deadline: Deadline,
        retry_policy: RetryPolicy,
        propagation: PermissionPropagation | None = None,
    ) -> AwsCaller:
        """Return a caller of AWS APIs for one endpoint, as its role or as the function itself."""
        return AwsCaller(
            self._clients,
            Identity(role, side),
            deadline=deadline,
            retry_policy=retry_policy,
            propagation=propagation,
        )

    def open_secret(
        self, secret: SecretReference, repository: str, caller: AwsCaller
    ) -> Credentials:
        """Return the credentials for a repository that a secret contains."""
        return SecretCredentials(secret, repository, caller.identity, caller, self._logins)

    def open_sign_in(self, registry: EcrRegistry, caller: AwsCaller) -> Credentials:
        """Return the credentials that ECR or ECR Public issues to a caller."""
        if registry.is_public:
            return EcrPublicCredentials(caller.identity, caller, self._logins)
        endpoint = AwsEndpoint(registry.region, registry.is_fips, registry.is_dual_stack)
        return EcrCredentials(endpoint, caller.identity, caller, self._logins)
