"""The wiring of registries, ECR, archives and AWS into the endpoints of a request."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.copy.cache import CachingSource, ContentCache
from ecr_image_replicator.endpoints import Endpoints
from ecr_image_replicator.errors import RequestError, Setting, Side
from ecr_image_replicator.model.archive_references import ArchiveReference
from ecr_image_replicator.model.ecr_hosts import parse_ecr_host
from ecr_image_replicator.registry.quirks import RegistryQuirks
from ecr_image_replicator.registry.rate_limiter import RateLimiter
from ecr_image_replicator.registry.registries import Registries
from ecr_image_replicator.request.credentials import (
    CREDENTIALS_SETTINGS,
    FirstCredentials,
    InlineCredentials,
    NoCredentials,
    StoredCredentials,
    parse_credentials,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecr_image_replicator.archive.source import ArchiveSource
    from ecr_image_replicator.aws.clients import AwsCaller
    from ecr_image_replicator.aws.sessions import AwsAccess
    from ecr_image_replicator.copy.ports import TagRemover
    from ecr_image_replicator.copy.tag_ports import TagDigestLister, TagReader
    from ecr_image_replicator.deadline import Deadline
    from ecr_image_replicator.model.ecr_hosts import EcrRegistry
    from ecr_image_replicator.model.references import ImageReference
    from ecr_image_replicator.referrers.cosign import Key
    from ecr_image_replicator.registry.destination import RegistryDestination
    from ecr_image_replicator.registry.source import RegistrySource
    from ecr_image_replicator.request.logins import Credentials, Login
    from ecr_image_replicator.request.parsing import ReplicationRequest, UntagRequest
    from ecr_image_replicator.request.repository_settings import RepositorySettings
    from ecr_image_replicator.request.roles import AssumedRole
    from ecr_image_replicator.request.settings import Settings
    from ecr_image_replicator.retries import Backoff

    CallerOpener = Callable[[], AwsCaller]

#: ECR allows 10 PutImage a second and region; ECR Public also 10 upload starts and ends.
_ECR_RATE: Final = 9


class EndpointFactory:
    """Creates endpoints. It keeps connections, logins and content for the next request.

    Parameters
    ----------
    settings
        The function's configuration.
    find_login
        Returns the login that a user stored for a registry; only the command line has any.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        find_login: Callable[[ImageReference], Login | None] | None = None,
    ) -> None:
        self._find_login = find_login
        self._cache = ContentCache()
        self._registries = Registries(
            plain_http=settings.plain_http,
            connections=4 * settings.streams,
            stall_timeout_seconds=settings.stall_timeout_seconds,
            response_timeout_seconds=settings.response_timeout_seconds,
            unverified=settings.unverified,
        )
        self._lock = threading.Lock()
        self._aws_access: AwsAccess | None = None
        self._rate_limiters: dict[tuple[str, str], RateLimiter] = {}

    def prepare(self, region: str) -> None:
        """Import and create what a copy to ECR in a region needs; nothing is sent."""
        import ecr_image_replicator.ecr.destination  # noqa: F401, PLC0415 - imported early on purpose

        self._aws.prepare(region)

    def connect_endpoints(
        self, request: ReplicationRequest, backoff: Backoff, deadline: Deadline
    ) -> Endpoints:
        """Return the endpoints of a request; no request is sent yet.

        Raises
        ------
        RequestError
            Credentials are malformed, or a repository is to be created outside private ECR.
        """
        endpoints = self._connect_endpoints(request, backoff, deadline)
        endpoints = endpoints._replace(on_close=self._registries.close_unkept)
        if not request.dry_run:
            return endpoints
        from ecr_image_replicator.copy.dry_run import (  # noqa: PLC0415 - for few copies
            DryRunReferrers,
            DryRunWriter,
        )

        # whether ECR mounts is a setting of the account that is not read: assume it does not
        mounts = parse_ecr_host(request.destination.registry) is None
        writer = DryRunWriter(endpoints.destination, mounts=mounts)
        return endpoints._replace(
            writer=writer,
            destination_referrers=DryRunReferrers(endpoints.destination_referrers, writer),
            dry_run=writer,
        )

    def _connect_endpoints(
        self, request: ReplicationRequest, backoff: Backoff, deadline: Deadline
    ) -> Endpoints:
        open_caller = self._caller_opener(request.source_role, Side.SOURCE, backoff, deadline)
        if isinstance(request.source, ArchiveReference):
            archive, find_etag = _open_archive(request, open_caller, backoff, deadline)
            destination = self._connect_destination(
                request, backoff, deadline, None, new_repository=request.new_repository
            )
            return Endpoints(
                source=CachingSource(archive, self._cache, _owner(request)),
                destination=destination,
                writer=destination,
                destination_referrers=destination.referrers,
                archive=archive,
                find_etag=find_etag,
            )
        same_registry = request.source.registry == request.destination.registry
        mount_from = request.source.repository if same_registry else None
        source = self._open_source(request, request.source, open_caller, backoff, deadline)
        destination = self._connect_destination(
            request, backoff, deadline, mount_from, new_repository=request.new_repository
        )
        return Endpoints(
            source=CachingSource(source, self._cache, _owner(request)),
            destination=destination,
            writer=destination,
            destination_referrers=destination.referrers,
            source_referrers=source.referrers,
            mount_from=mount_from,
        )

    def load_verification_key(
        self, request: ReplicationRequest, backoff: Backoff, deadline: Deadline
    ) -> Key | None:
        """Return the key for the verification of signatures; None when they are not verified.

        Raises
        ------
        RequestError
            The key is malformed, or cannot be read.
        """
        text = request.signature_key
        if text is None:
            return None
        from ecr_image_replicator.referrers.keys import (  # noqa: PLC0415 - cryptography is slow to load
            parse_der_key,
            parse_pem_key,
        )

        if not text.startswith("arn:"):
            return parse_pem_key(text)
        from ecr_image_replicator.aws.kms import fetch_public_key  # noqa: PLC0415 - for few copies

        open_caller = self._caller_opener(None, Side.SOURCE, backoff, deadline)
        return parse_der_key(fetch_public_key(text, open_caller()), f"the KMS key {text}")

    def connect_tag_remover(
        self, request: UntagRequest, backoff: Backoff, deadline: Deadline
    ) -> TagRemover:
        """Return the destination of a deleted resource; no request is sent yet.

        Raises
        ------
        RequestError
            Credentials are malformed.
        """
        return self._connect_destination(request, backoff, deadline, None, deletes=True)

    def open_tag_reader(
        self, request: ReplicationRequest, side: Side, backoff: Backoff, deadline: Deadline
    ) -> TagReader:
        """Open a registry's repository to list and look up its tags; nothing is sent yet.

        Raises
        ------
        RequestError
            Credentials are malformed, or the source is an archive.
        """
        reference: ImageReference | ArchiveReference = request.destination
        role, credentials = request.destination_role, request.destination_credentials
        if side is Side.SOURCE:
            reference = request.source
            role, credentials = request.source_role, request.source_credentials
        if isinstance(reference, ArchiveReference):
            raise RequestError(f"{reference.location} is invalid here: an archive has no tags")
        open_caller = self._caller_opener(role, side, backoff, deadline)
        logins = self._credentials(credentials, reference, side, open_caller)
        return self._registries.open_tags(
            reference, logins, side, backoff=backoff, deadline=deadline
        )

    def open_tag_digest_lister(
        self, request: ReplicationRequest, backoff: Backoff, deadline: Deadline
    ) -> TagDigestLister | None:
        """Open a destination that lists tags with their digests; None where only ECR does."""
        ecr = parse_ecr_host(request.destination.registry)
        if ecr is None:
            return None
        from ecr_image_replicator.ecr.api import EcrRepository  # noqa: PLC0415 - loads boto3's wrapper

        open_caller = self._caller_opener(
            request.destination_role, Side.DESTINATION, backoff, deadline
        )
        return EcrRepository(request.destination, ecr, open_caller())

    def close(self) -> None:
        """Close every kept connection."""
        self._registries.close()

    def _connect_destination(
        self,
        request: ReplicationRequest | UntagRequest,
        backoff: Backoff,
        deadline: Deadline,
        mount_from: str | None,
        *,
        new_repository: RepositorySettings | None = None,
        deletes: bool = False,
    ) -> RegistryDestination:
        reference = request.destination
        open_caller = self._caller_opener(
            request.destination_role, Side.DESTINATION, backoff, deadline
        )
        ecr = parse_ecr_host(reference.registry)
        if new_repository is not None and (ecr is None or ecr.is_public):
            raise RequestError(
                "invalid ",
                Setting.CREATE_REPOSITORY,
                f": {reference} is not in a private ECR registry",
                hint="Create the repository by other means.",
            )
        credentials = self._credentials(
            request.destination_credentials, reference, Side.DESTINATION, open_caller
        )
        if ecr is None:
            return self._registries.open_destination(
                reference,
                credentials,
                backoff=backoff,
                deadline=deadline,
                mount_from=mount_from,
                deletes=deletes,
            )
        client = self._registries.destination_client(
            reference,
            credentials,
            backoff=backoff,
            deadline=deadline,
            mount_from=mount_from,
            deletes=deletes,
        )
        from ecr_image_replicator.ecr.api import EcrRepository  # noqa: PLC0415 - for ECR only
        from ecr_image_replicator.ecr.destination import EcrDestination  # noqa: PLC0415 - as above

        return EcrDestination(
            reference,
            client,
            backoff,
            self._quirks(reference, ecr),
            EcrRepository(reference, ecr, open_caller()),
            new_repository,
        )

    def _open_source(
        self,
        request: ReplicationRequest,
        reference: ImageReference,
        open_caller: CallerOpener,
        backoff: Backoff,
        deadline: Deadline,
    ) -> RegistrySource:
        credentials = self._credentials(
            request.source_credentials, reference, Side.SOURCE, open_caller
        )
        ecr = parse_ecr_host(reference.registry)
        if ecr is None:
            return self._registries.open_source(
                reference, credentials, backoff=backoff, deadline=deadline
            )
        client = self._registries.source_client(
            reference, credentials, backoff=backoff, deadline=deadline
        )
        from ecr_image_replicator.ecr.api import EcrRepository  # noqa: PLC0415 - for ECR only
        from ecr_image_replicator.ecr.source import EcrSource  # noqa: PLC0415 - as above

        return EcrSource(reference, client, backoff, EcrRepository(reference, ecr, open_caller()))

    def _credentials(
        self, text: str | None, reference: ImageReference, side: Side, open_caller: CallerOpener
    ) -> Credentials:
        """Choose what a side signs in with: its property, else ECR's own way, else nothing."""
        if text is not None:
            given = parse_credentials(text, CREDENTIALS_SETTINGS[side])
            if isinstance(given, InlineCredentials):
                return given
            return self._aws.open_secret(given, reference.repository, open_caller())
        ecr = parse_ecr_host(reference.registry)
        own = self._aws.open_sign_in(ecr, open_caller()) if ecr else None
        login = self._find_login(reference) if self._find_login else None
        if login is None:
            return own or NoCredentials()
        stored = StoredCredentials(login)
        return FirstCredentials(own, stored) if own else stored

    @property
    def _aws(self) -> AwsAccess:
        """The sessions and logins of AWS, made when the first endpoint needs them."""
        from ecr_image_replicator.aws.sessions import AwsAccess  # noqa: PLC0415 - few need it

        with self._lock:
            if self._aws_access is None:
                self._aws_access = AwsAccess()
            return self._aws_access

    def _caller_opener(
        self, role: AssumedRole | None, side: Side, backoff: Backoff, deadline: Deadline
    ) -> CallerOpener:
        """Return what opens the caller of AWS APIs for an endpoint, as its role."""
        return lambda: self._aws.open_caller(
            role,
            side,
            deadline=deadline,
            retry_policy=backoff.policy,
            propagation=backoff.propagation,
        )

    def _quirks(self, reference: ImageReference, ecr: EcrRegistry) -> RegistryQuirks:
        return RegistryQuirks(
            probes=False,
            mounts=not ecr.is_public,
            manifest_rate=self._rate_limiter(reference.registry, "manifests"),
            upload_rate=self._rate_limiter(reference.registry, "uploads")
            if ecr.is_public
            else None,
        )

    def _rate_limiter(self, registry: str, what: str) -> RateLimiter:
        """Return the rate limiter that all streams to a registry share."""
        return self._rate_limiters.setdefault((registry, what), RateLimiter(_ECR_RATE))


def _open_archive(
    request: ReplicationRequest, open_caller: CallerOpener, backoff: Backoff, deadline: Deadline
) -> tuple[ArchiveSource, Callable[[], str]]:
    """Return an archive, and what returns the ETag of its S3 object."""
    # registries need none of these modules
    from ecr_image_replicator.archive.compression import Compression  # noqa: PLC0415
    from ecr_image_replicator.archive.local_file import LocalFile  # noqa: PLC0415
    from ecr_image_replicator.archive.source import ArchiveSource  # noqa: PLC0415
    from ecr_image_replicator.aws.s3 import S3Object  # noqa: PLC0415

    reference = request.source
    assert isinstance(reference, ArchiveReference)  # noqa: S101 - for mypy
    stored = (
        LocalFile(reference)
        if reference.path
        else S3Object(reference, open_caller(), backoff=backoff, deadline=deadline)
    )
    archive = ArchiveSource(reference, stored, Compression(request.compression))
    return archive, lambda: stored.etag


def _owner(request: ReplicationRequest) -> tuple[object, ...]:
    """Return what cached content of the source is kept under: repository and credentials."""
    source = request.source
    place = source.location if isinstance(source, ArchiveReference) else source.name
    return place, request.source_credentials, request.source_role
