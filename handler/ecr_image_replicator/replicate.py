"""The use case: replicate an image, so that the destination's tags point at its content."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.copy.progress import LoggedProgress
from ecr_image_replicator.copy.resolve import ContentReader
from ecr_image_replicator.copy.transfer import Transfer
from ecr_image_replicator.endpoint_factory import EndpointFactory
from ecr_image_replicator.errors import OutOfTimeError
from ecr_image_replicator.outcome import parse_physical_id
from ecr_image_replicator.pipeline import Pipeline
from ecr_image_replicator.retries import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, MutableMapping

    from ecr_image_replicator.archive.layer_cache import LayerCache
    from ecr_image_replicator.archive.layer_proofs import LayerProofs
    from ecr_image_replicator.copy.ports import Progress
    from ecr_image_replicator.deadline import Deadline
    from ecr_image_replicator.model.digests import Digest
    from ecr_image_replicator.model.manifests import Descriptor
    from ecr_image_replicator.model.references import ImageReference
    from ecr_image_replicator.outcome import Outcome
    from ecr_image_replicator.propagation import PermissionPropagation
    from ecr_image_replicator.request.logins import Login
    from ecr_image_replicator.request.parsing import ReplicationRequest, UntagRequest
    from ecr_image_replicator.request.settings import Settings


class Replicator:
    """Replicates images. It keeps connections, logins and manifests for the next request.

    Parameters
    ----------
    settings
        The settings of the function.
    find_login
        Returns the login that a user stored for a registry; None for no such logins.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        find_login: Callable[[ImageReference], Login | None] | None = None,
    ) -> None:
        self.settings: Final = settings
        self.endpoints: Final = EndpointFactory(settings, find_login=find_login)
        self._lock = threading.Lock()
        self._layer_cache: LayerCache | None = None

    def replicate(
        self,
        request: ReplicationRequest,
        *,
        deadline: Deadline,
        progress: Progress,
        previous: str = "",
        previous_source: str = "",
        known_blobs: MutableMapping[Digest, Descriptor] | None = None,
        absent_tags: Collection[str] = (),
        propagation: PermissionPropagation | None = None,
    ) -> Outcome:
        """Make the destination's tags point at the source's content.

        Parameters
        ----------
        request
            The parsed request.
        deadline
            When the work ends, finished or not.
        progress
            Called with the progress, from several threads.
        previous
            The physical resource ID before the request, ``host/repository:tag@sha256:…``; that
            image may have layers of an archive.
        previous_source
            The source of the resource before the request; "" for a new resource.
        known_blobs
            Blobs that the destination repository is known to have, by digest. Those that are
            copied are added.
        absent_tags
            Destination tags that are known to be absent: they are not read first.
        propagation
            Retries of denials by AWS; None if a denial is final.

        Raises
        ------
        ReplicationError
            The copy failed; no tag points at incomplete content.
        """
        began_at = time.monotonic()
        self.settings.allowed.check(request)
        backoff = Backoff(
            request.retry_policy, deadline, on_retry=progress.retry, propagation=propagation
        )
        streams = min(self.settings.streams, request.most_streams or self.settings.streams)
        endpoints = self.endpoints.connect_endpoints(request, backoff, deadline)
        blob_progress = LoggedProgress() if request.dry_run else progress

        def new_transfer(deadline: Deadline) -> Transfer:
            return Transfer(
                endpoints.source,
                endpoints.destination,
                endpoints.writer,
                deadline=deadline,
                backoff=backoff,
                progress=blob_progress,
                streams=streams,
            )

        transfer = new_transfer(deadline)
        try:
            pipeline = Pipeline(
                request=request,
                endpoints=endpoints,
                reader=ContentReader(
                    request,
                    endpoints.source,
                    default_platforms=self.settings.default_platforms,
                    streams=streams,
                    stop=deadline.stop,
                ),
                key=self.endpoints.load_verification_key(request, backoff, deadline),
                new_proofs=lambda: self._new_proofs(
                    request.destination, transfer, previous, previous_source
                ),
                new_transfer=new_transfer,
                transfer=transfer,
                deadline=deadline,
                progress=progress,
                known_blobs={} if known_blobs is None else known_blobs,
                absent_tags=absent_tags,
                streams=streams,
                began_at=began_at,
            )
            with deadline.enforced():
                return pipeline.run()
        except OutOfTimeError as error:
            # the cause has the Retry-After that a mirror waits for
            raise error.with_progress(progress.summary()) from error.__cause__
        finally:
            endpoints.close()

    def untag(self, request: UntagRequest, *, deadline: Deadline) -> None:
        """Remove the tags of a deleted resource that still point at its content.

        Raises
        ------
        ReplicationError
            A tag cannot be removed.
        """
        self.settings.allowed.check_destination(request.destination)
        backoff = Backoff(request.retry_policy, deadline)
        remover = self.endpoints.connect_tag_remover(request, backoff, deadline)
        with deadline.enforced():
            remover.remove_tags(request.all_tags, request.digest)

    def close(self) -> None:
        """Close every kept connection."""
        self.endpoints.close()

    def _new_proofs(
        self, destination: ImageReference, transfer: Transfer, previous: str, previous_source: str
    ) -> LayerProofs:
        # only archives need these modules
        from ecr_image_replicator.archive.layer_cache import LayerCache  # noqa: PLC0415
        from ecr_image_replicator.archive.layer_proofs import LayerProofs  # noqa: PLC0415

        with self._lock:
            if self._layer_cache is None:
                self._layer_cache = LayerCache()
        return LayerProofs(
            destination.name,
            self._layer_cache,
            transfer,
            parse_physical_id(previous, destination),
            previous_source,
        )
