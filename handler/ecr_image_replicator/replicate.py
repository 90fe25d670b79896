"""The use case: this image, from there, must be in that repository under these tags."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.archive.image_builder import ImageBuilder, UnbuiltImage
from ecr_image_replicator.archive.layer_cache import LayerCache
from ecr_image_replicator.archive.layer_proofs import LayerProofs
from ecr_image_replicator.copy.plan import make_plan, tag_plan
from ecr_image_replicator.copy.progress import LoggedProgress
from ecr_image_replicator.copy.resolve import Content, ContentReader
from ecr_image_replicator.copy.results import TransferReport, count_results, merge_results
from ecr_image_replicator.copy.state import check_planned_tags, read_state
from ecr_image_replicator.copy.transfer import Transfer
from ecr_image_replicator.endpoints import EndpointFactory
from ecr_image_replicator.errors import OutOfTimeError, RequestError, Setting
from ecr_image_replicator.model.conversion import image_media_type
from ecr_image_replicator.model.manifests import ImageManifest, parse_config_platform
from ecr_image_replicator.outcome import Outcome, find_digest_of_id
from ecr_image_replicator.referrers.policy import ReferrerPolicy
from ecr_image_replicator.retries import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping, Sequence

    from ecr_image_replicator.copy.dry_run import PlannedChanges
    from ecr_image_replicator.copy.plan import ReplicationPlan
    from ecr_image_replicator.copy.ports import Progress
    from ecr_image_replicator.copy.resolve import PlatformDigests
    from ecr_image_replicator.copy.results import BlobResults
    from ecr_image_replicator.copy.state import CopyState
    from ecr_image_replicator.deadline import Deadline
    from ecr_image_replicator.endpoints import Endpoints
    from ecr_image_replicator.model.digests import Digest
    from ecr_image_replicator.model.manifests import Descriptor, Manifest
    from ecr_image_replicator.model.platforms import Platform
    from ecr_image_replicator.model.references import ImageReference
    from ecr_image_replicator.propagation import PermissionPropagation
    from ecr_image_replicator.referrers.copying import ReferrersReport
    from ecr_image_replicator.request.logins import Login
    from ecr_image_replicator.request.parsing import ReplicationRequest, UntagRequest
    from ecr_image_replicator.request.settings import Settings

_LOGGER: Final = logging.getLogger(__name__)


class Replicator:
    """Replicates images; keeps connections, sign-ins and manifests for the next one.

    Parameters
    ----------
    settings
        The function's configuration.
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
        self._opener = EndpointFactory(settings, find_login=find_login)
        self._made_layers = LayerCache()

    def replicate(
        self,
        request: ReplicationRequest,
        *,
        deadline: Deadline,
        progress: Progress,
        previous: str = "",
        previous_source: str = "",
        known_blobs: MutableMapping[Digest, Descriptor] | None = None,
        propagation: PermissionPropagation | None = None,
    ) -> Outcome:
        """Make the destination's tags point at the source's image.

        Parameters
        ----------
        previous
            The physical resource id that the resource has had, ``host/repository:tag@sha256:…``;
            an archive's layers may be in its image already.
        previous_source
            What the resource's previous version copied; "" when it is created.
        known_blobs
            Blobs that the destination repository is known to have, by digest. Those that it has
            after the copy are added.
        propagation
            Retries of denials by AWS; None if a denial is final.

        Raises
        ------
        ReplicationError
            The copy failed; no tag points at incomplete content.
        """
        self.settings.allowed.check(request)
        backoff = Backoff(
            request.retry_policy, deadline, on_retry=progress.retry, propagation=propagation
        )
        streams = min(self.settings.streams, request.most_streams or self.settings.streams)
        endpoints = self._opener.open(request, backoff, deadline)
        reader = ContentReader(
            request,
            endpoints.source,
            default_platforms=self.settings.default_platforms,
            streams=streams,
            stop=deadline.stop,
        )
        moves = LoggedProgress() if request.dry_run else progress

        def new_transfer(deadline: Deadline) -> Transfer:
            return Transfer(
                endpoints.source,
                endpoints.destination,
                deadline=deadline,
                backoff=backoff,
                progress=moves,
                streams=streams,
            )

        try:
            provenance = ReferrerPolicy(
                request,
                endpoints.source,
                reader,
                self._opener.open_key(request, backoff, deadline),
                lambda plan: new_transfer(deadline.branch()).run(plan),
                source_store=endpoints.source_referrers,
                destination_store=endpoints.destination_referrers,
                mount_from=endpoints.mount_from,
                streams=streams,
            )
            transfer = new_transfer(deadline)
            former = find_digest_of_id(previous, request.destination)
            proofs = LayerProofs(
                request.destination.name, self._made_layers, transfer, former, previous_source
            )
            replication = _Replication(
                request,
                endpoints,
                reader,
                provenance,
                transfer,
                progress,
                _Memory(proofs, {} if known_blobs is None else known_blobs),
            )
            with deadline.enforced():
                return replication.run()
        except OutOfTimeError as error:
            raise error.with_progress(progress.summary()) from error
        finally:
            endpoints.close()

    def untag(self, request: UntagRequest, *, deadline: Deadline) -> None:
        """Remove the tags that still point at what the resource put there, and nothing else.

        Raises
        ------
        ReplicationError
            A tag that should go cannot be removed.
        """
        self.settings.allowed.check_destination(request.destination)
        backoff = Backoff(request.retry_policy, deadline)
        tags = self._opener.open_tags(request, backoff, deadline)
        with deadline.enforced():
            tags.remove_tags(request.all_tags, request.digest)

    @property
    def endpoints(self) -> EndpointFactory:
        """The factory of endpoints."""
        return self._opener

    def close(self) -> None:
        """Drop every kept connection."""
        self._opener.close()


@dataclass(frozen=True, slots=True)
class _Memory:
    """What earlier copies have shown: which blobs hold which layers, and which blobs are there."""

    proofs: LayerProofs
    known_blobs: MutableMapping[Digest, Descriptor]


class _Replication:
    """One request on its way."""

    def __init__(
        self,
        request: ReplicationRequest,
        endpoints: Endpoints,
        reader: ContentReader,
        provenance: ReferrerPolicy,
        transfer: Transfer,
        progress: Progress,
        memory: _Memory,
    ) -> None:
        self._request = request
        self._endpoints = endpoints
        self._reader = reader
        self._provenance = provenance
        self._transfer = transfer
        self._progress = progress
        self._proofs = memory.proofs
        self._known_blobs = memory.known_blobs
        self._started_at = time.monotonic()

    def run(self) -> Outcome:
        with self._progress.stage("state"):
            endpoints, request = self._endpoints, self._request
            tags = (*request.all_tags, *request.arch_tags.values())
            stop = self._transfer.stop
            state = read_state(endpoints.source, endpoints.destination, tags, stop=stop)
        if (current := self._unchanged_at_a_glance(state)) is not None:
            _LOGGER.info("nothing to do", extra={"digest": str(current.digest)})
            return self._outcome(current, self._reader.platforms_at_hand(current), None)
        if state.pinned is not None:
            self._progress.pin(state.pinned, self._endpoints.etag)
        with self._progress.stage("read"):
            read = self._read(state)
            if isinstance(read, UnbuiltImage):
                return self._plan_changes(state, read)
            content, present = read
            content = self._convert(content)
            # cosign signs the sha256, whatever the source was pinned by
            self._provenance.verify(content.named.digest)
            plan = self._plan(state, content, present)
        if plan is None and not self._provenance.copies_referrers:
            _LOGGER.info("nothing to do", extra={"digest": str(content.root.digest)})
            return self._outcome(content.root, self._reader.platforms_of(content), None)
        if plan is not None:
            check_planned_tags(self._endpoints.destination, state, plan)
        _LOGGER.info(
            "dry run" if self._request.dry_run else "copying",
            extra={
                "digest": str(content.root.digest),
                "tags": [tag for tag, _ in plan.puts] if plan else [],
                "blobs": len(plan.blobs) if plan else 0,
                "blobs_present": len(plan.present) if plan else 0,
            },
        )
        referrers = None
        with self._progress.stage("copy"):
            if self._provenance.copies_referrers:
                results, referrers = self._copy_with_referrers(content, plan)
            else:
                results = self._copy(plan) if plan else None
        report = count_results(results) if results is not None else None
        return self._outcome(content.root, self._reader.platforms_of(content), report, referrers)

    def _convert(self, content: Content) -> Content:
        """Convert content to the requested format; referrers cannot follow a new digest."""
        converted = self._reader.convert(content)
        if converted is not content and self._provenance.copies_referrers:
            raise RequestError(
                "invalid ",
                Setting.COPY_REFERRERS,
                f": converting {self._request.source} changes its digest, which referrers name",
                hint=("Remove ", Setting.FORMAT, " or ", Setting.COPY_REFERRERS, "."),
            )
        return converted

    def _copy(self, plan: ReplicationPlan) -> BlobResults:
        archive = self._endpoints.archive
        is_sequential = archive is not None and archive.is_sequential and not self._request.dry_run
        in_turn = archive.in_turn(plan.blobs) if archive and is_sequential else None
        results = self._transfer.run(plan, in_turn=in_turn)
        if not self._request.dry_run:
            self._known_blobs.update((blob.digest, blob) for blob in (*plan.blobs, *plan.present))
        return results

    def _copy_with_referrers(
        self, content: Content, plan: ReplicationPlan | None
    ) -> tuple[BlobResults | None, ReferrersReport]:
        """Copy an image, then what refers to it, and only then put the tags."""
        children = self._reader.read_children(content.root)
        own = () if content.is_made else (content.root.digest,)
        found = self._provenance.find((*own, *children))
        results = self._copy(plan.without_tags()) if plan and not plan.is_there else None
        referrers = self._provenance.copy(found)
        if plan:
            tagging = tag_plan(plan.root, plan.tags, plan.child_tags)
            results = merge_results(results or {}, self._copy(tagging))
        if referrers.copied:
            results = merge_results(results or {}, referrers.results)
        return results, referrers

    def _read(self, state: CopyState) -> tuple[Content, Sequence[Descriptor]] | UnbuiltImage:
        """Read or build the content, and return it with blobs known to be at the destination."""
        archive, current = self._endpoints.archive, state.current
        present = current.blobs if isinstance(current, ImageManifest) else ()
        image = archive.find_stored_image() if archive is not None else None
        if image is None:
            content = self._reader.read(state.pinned)
            if archive is not None and not content.is_made and not self._request.arch_tags:
                image = archive.rebuild(content.root)  # one platform of an index
            if image is None:
                return content, present
        assert archive is not None  # noqa: S101 - for mypy: it has the image
        self._progress.pin(image.config_descriptor.digest, self._endpoints.etag)
        self._reader.check_single(parse_config_platform(image.config))
        destination, recorded = self._endpoints.destination, self._request.made_layers
        builder = ImageBuilder(archive, destination, self._transfer, self._proofs, recorded)
        built = builder.prepare(image, state, is_dry_run=self._request.dry_run)
        if isinstance(built, UnbuiltImage):
            return built
        root, platform = built.manifest, built.platform
        platforms = ((platform, root.digest),) if platform else ()
        return Content(root, root, platforms), (*present, *built.present)

    def _unchanged_at_a_glance(self, state: CopyState) -> Manifest | None:
        """Give what all tags point at if that is the source's own manifest, taken as it is."""
        current = state.current
        if current is None or any(digest != state.pinned for digest in state.found.values()):
            return None
        if self._provenance.asks_for_more or self._request.arch_tags:
            return None
        return current if self._reader.takes_as_is(current) else None

    def _plan(
        self, state: CopyState, content: Content, present: Sequence[Descriptor]
    ) -> ReplicationPlan | None:
        """Plan what is missing; None when nothing is."""
        found, root, arch_digests = state.found, content.root, self._reader.arch_digests(content)
        tags = [tag for tag in self._request.all_tags if found[tag] != root.digest]
        child_tags = [
            (tag, content.children.get(digest) or self._reader.fetch(digest))
            for tag, digest in arch_digests.items()
            if found[tag] != digest
        ]
        if not tags and not child_tags:
            return None
        mount_from = self._endpoints.mount_from
        within_repository = mount_from == self._request.destination.repository
        if (within_repository and not content.is_made) or root.digest in found.values():
            return tag_plan(root, tags, child_tags)
        is_made_below = content.children or within_repository
        return make_plan(
            root,
            content.children if is_made_below else self._reader.read_children(root),
            tags,
            child_tags=child_tags,
            known=(*present, *self._known_blobs.values()),
            mount_from=mount_from,
        )

    def _plan_changes(self, state: CopyState, unbuilt: UnbuiltImage) -> Outcome:
        """Say what a dry run knows of an image that is still to be made."""
        dry_run = self._endpoints.dry_run
        assert dry_run is not None  # noqa: S101 - for mypy: only a dry run leaves images unbuilt
        changes = dry_run.plan_build(unbuilt.missing, self._request.all_tags, state.found)
        platforms = ((unbuilt.platform, None),) if unbuilt.platform else ()
        media_type = image_media_type(self._request.format)
        return self._finish(None, media_type, platforms, unbuilt.report, planned_changes=changes)

    def _outcome(
        self,
        root: Manifest,
        platforms: PlatformDigests,
        report: TransferReport | None,
        referrers: ReferrersReport | None = None,
    ) -> Outcome:
        dry_run = self._endpoints.dry_run
        changes = dry_run.planned_changes() if dry_run is not None else None
        return self._finish(root.digest, root.media_type, platforms, report, referrers, changes)

    def _finish(
        self,
        digest: Digest | None,
        media_type: str,
        platforms: Sequence[tuple[Platform, Digest | None]],
        report: TransferReport | None,
        referrers: ReferrersReport | None = None,
        planned_changes: PlannedChanges | None = None,
    ) -> Outcome:
        outcome = Outcome(
            self._request.destination,
            digest,
            media_type,
            tuple(platforms),
            report is not None,
            report or TransferReport(),
            time.monotonic() - self._started_at,
            referrers,
            planned_changes,
        )
        for stage, figures in outcome.stages():
            _LOGGER.info("dry run: %s", stage, extra=figures)
        return outcome
