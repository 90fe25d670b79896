"""One replication: read the state, read the content, plan, copy blobs, push manifests, push tags.

Before the copy, nothing at the destination changes, except that the layers of an archive without a
manifest are pushed to build its image.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.copy.plan import make_plan, tag_plan
from ecr_image_replicator.copy.resolve import Content
from ecr_image_replicator.copy.results import count_results, merge_results
from ecr_image_replicator.copy.state import check_planned_tags, read_state
from ecr_image_replicator.errors import RequestError, Setting
from ecr_image_replicator.model.conversion import image_media_type
from ecr_image_replicator.model.manifests import ImageManifest, parse_config_platform
from ecr_image_replicator.outcome import Outcome
from ecr_image_replicator.request.parsing import Referrers

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, MutableMapping, Sequence

    from ecr_image_replicator.archive.docker_save import StoredImage
    from ecr_image_replicator.archive.image_builder import UnbuiltImage
    from ecr_image_replicator.archive.layer_proofs import LayerProofs
    from ecr_image_replicator.archive.source import ArchiveSource
    from ecr_image_replicator.copy.plan import ReplicationPlan
    from ecr_image_replicator.copy.ports import Progress
    from ecr_image_replicator.copy.resolve import ContentReader, PlatformDigests
    from ecr_image_replicator.copy.results import BlobResults
    from ecr_image_replicator.copy.state import CopyState
    from ecr_image_replicator.copy.transfer import Transfer
    from ecr_image_replicator.deadline import Deadline
    from ecr_image_replicator.endpoints import Endpoints
    from ecr_image_replicator.model.digests import Digest
    from ecr_image_replicator.model.manifests import Descriptor, Manifest
    from ecr_image_replicator.model.platforms import Platform
    from ecr_image_replicator.referrers.copying import FoundReferrer, ReferrersReport
    from ecr_image_replicator.referrers.cosign import Key
    from ecr_image_replicator.request.parsing import ReplicationRequest

_LOGGER: Final = logging.getLogger(__name__)


@dataclass(slots=True, eq=False, repr=False)  # generated methods slow down each start
class Pipeline:
    """One replication.

    Attributes
    ----------
    request
        The parsed request.
    endpoints
        Its source and destination.
    reader
        Reads the requested content.
    key
        Verifies signatures; None when they are not verified.
    new_proofs
        Returns the proofs of which blobs at the destination hold which layers of an archive.
    new_transfer
        Returns a transfer that ends with a deadline.
    transfer
        The transfer of the image.
    deadline, progress
        The deadline and the progress of the replication.
    known_blobs
        Blobs that the destination is known to have; those that are copied are added.
    absent_tags
        Tags that the destination is known not to have.
    streams
        The number of parallel requests.
    began_at
        Monotonic seconds.
    """

    request: ReplicationRequest
    endpoints: Endpoints
    reader: ContentReader
    key: Key | None
    new_proofs: Callable[[], LayerProofs]
    new_transfer: Callable[[Deadline], Transfer]
    transfer: Transfer
    deadline: Deadline
    progress: Progress
    known_blobs: MutableMapping[Digest, Descriptor]
    absent_tags: Collection[str]
    streams: int
    began_at: float

    def run(self) -> Outcome:
        """Replicate, and return what was done.

        Raises
        ------
        ReplicationError
            The first failure; no tag points at incomplete content.
        """
        endpoints, request, reader = self.endpoints, self.request, self.reader
        with self.progress.stage("state"):
            state = read_state(
                endpoints.source,
                endpoints.destination,
                request.every_tag,
                absent_tags=self.absent_tags,
                stop=self.deadline.stop,
            )
        unchanged = find_unchanged(state, request, reader)
        if unchanged is not None:
            return self._finish(unchanged, reader.platforms_at_hand(unchanged), state)
        if state.pinned is not None:
            self.progress.pin(state.pinned, endpoints.etag)
        with self.progress.stage("read"):
            content = self._read_content(state)
            if not isinstance(content, Content):
                return self._finish_unbuilt(content, state)
            content = convert_content(content, request, reader)
            self._verify_signature(content.named.digest)
            plan = plan_copy(
                request, content, state, reader, endpoints.mount_from, self.known_blobs
            )
        if plan is not None:
            check_planned_tags(endpoints.destination, state, plan)
        with self.progress.stage("copy"):
            results, referrers = self._copy(content, plan)
        return self._finish(content.root, reader.platforms_of(content), state, results, referrers)

    def _read_content(self, state: CopyState) -> Content | UnbuiltImage:
        """Read the content, or build the image of an archive that has no manifest for it."""
        archive, current = self.endpoints.archive, state.current
        present = current.blobs if isinstance(current, ImageManifest) else ()
        if archive is None:
            return self.reader.read(state.pinned)._replace(present=present)
        image = archive.find_stored_image()
        if image is not None:
            self.reader.check_single(parse_config_platform(image.config))
            return self._build_image(archive, image, state, present)
        content = self.reader.read(state.pinned)._replace(present=present)
        if content.is_made or self.request.arch_tags:
            return content
        image = archive.rebuild(content.root)  # one platform of an index
        if image is None:
            return content
        # the index decides, as in a registry: configs may lack the variant
        chosen = next((platform for platform, _ in content.platforms), None)
        return self._build_image(archive, image, state, present, chosen)

    def _build_image(
        self,
        archive: ArchiveSource,
        image: StoredImage,
        state: CopyState,
        present: Sequence[Descriptor],
        chosen: Platform | None = None,
    ) -> Content | UnbuiltImage:
        from ecr_image_replicator.archive.image_builder import (  # noqa: PLC0415 - for few archives
            ImageBuilder,
            UnbuiltImage,
        )

        self.progress.pin(image.config_descriptor.digest, self.endpoints.etag)
        builder = ImageBuilder(
            archive,
            self.endpoints.destination,
            self.transfer,
            self.new_proofs(),
            self.request.made_layers,
        )
        built = builder.prepare(image, state, is_dry_run=self.request.dry_run)
        built = replace(built, platform=chosen or built.platform)
        if isinstance(built, UnbuiltImage):
            return built
        root, platform = built.manifest, built.platform
        platforms = ((platform, root.digest),) if platform else ()
        return Content(root, root, platforms, present=(*present, *built.present))

    def _verify_signature(self, digest: Digest) -> None:
        """Verify the source's digest; cosign signs the sha256, whatever the source is pinned by."""
        if self.key is None:
            return
        from ecr_image_replicator.referrers.signatures import (  # noqa: PLC0415 - for few copies
            SignatureVerifier,
        )

        verifier = SignatureVerifier(
            self.key, self.endpoints.source, self.endpoints.require_source_referrers()
        )
        verifier.verify(digest, str(self.request.source))
        _LOGGER.info(
            "signature verified", extra={"digest": str(digest), "key": str(self.key.origin)}
        )

    def _copy(
        self, content: Content, plan: ReplicationPlan | None
    ) -> tuple[BlobResults | None, ReferrersReport | None]:
        """Copy the content, then its referrers, and put the tags last."""
        copies_referrers = self.request.referrers is not Referrers.IGNORED
        if plan is None and not copies_referrers:
            _LOGGER.info("nothing to do", extra={"digest": str(content.root.digest)})
            return None, None
        _log_plan(content, plan, is_dry_run=self.request.dry_run)
        if not copies_referrers:
            return (self._carry_out(plan) if plan else None), None
        found = self._find_referrers(content)
        results = self._carry_out(plan.without_tags()) if plan and not plan.is_there else None
        referrers = self._copy_referrers(found)
        if plan:
            tagging = tag_plan(plan.root, plan.tags, plan.child_tags)
            results = merge_results(results or {}, self._carry_out(tagging))
        if referrers.copied:
            results = merge_results(results or {}, referrers.results)
        return results, referrers

    def _carry_out(self, plan: ReplicationPlan) -> BlobResults:
        archive = self.endpoints.archive
        sequential_order = None
        if archive is not None and archive.is_sequential and not self.request.dry_run:
            sequential_order = archive.sequential_order(plan.blobs)
        results = self.transfer.run(plan, sequential_order=sequential_order)
        if not self.request.dry_run:
            self.known_blobs.update((blob.digest, blob) for blob in (*plan.blobs, *plan.present))
        return results

    def _find_referrers(self, content: Content) -> list[list[FoundReferrer]]:
        """Return the referrers of every manifest that is at the source."""
        from ecr_image_replicator.referrers.copying import ReferrerFinder  # noqa: PLC0415 - as above

        own = () if content.is_made else (content.root.digest,)
        source = self.endpoints.source
        finder = ReferrerFinder(
            self.endpoints.require_source_referrers(), source.keep_manifest, streams=self.streams
        )
        return finder.find((*own, *self.reader.read_children(content.root)))

    def _copy_referrers(self, found: list[list[FoundReferrer]]) -> ReferrersReport:
        from ecr_image_replicator.referrers.copying import ReferrerCopier  # noqa: PLC0415 - as above

        report = ReferrerCopier(
            self.reader.fetch,
            self.reader.read_children,
            self.endpoints.destination_referrers,
            lambda plan: self.new_transfer(self.deadline.branch()).run(plan),
            mount_from=self.endpoints.mount_from,
            is_required=self.request.referrers is Referrers.REQUIRED,
        ).copy(found)
        _LOGGER.info(
            "dry run: referrers" if self.request.dry_run else "referrers",
            extra={
                "copied": [str(each) for each in report.copied],
                "present": len(report.present),
                "refused": [str(each) for each in report.refused],
            },
        )
        return report

    def _finish(
        self,
        root: Manifest,
        platforms: PlatformDigests,
        state: CopyState,
        results: BlobResults | None = None,
        referrers: ReferrersReport | None = None,
    ) -> Outcome:
        dry_run = self.endpoints.dry_run
        outcome = Outcome(
            self.request.destination,
            root.digest,
            root.media_type,
            tuple(platforms),
            results is not None,
            count_results(results or {}),
            time.monotonic() - self.began_at,
            referrers,
            dry_run.planned_changes(state.found) if dry_run is not None else None,
            tuple(tag for tag in self.request.all_tags if state.found[tag] != root.digest),
        )
        outcome.log_planned_changes()
        return outcome

    def _finish_unbuilt(self, unbuilt: UnbuiltImage, state: CopyState) -> Outcome:
        """Return the outcome of a dry run whose image would still have to be built."""
        dry_run = self.endpoints.dry_run
        assert dry_run is not None  # noqa: S101 - for mypy: only a dry run leaves images unbuilt
        outcome = Outcome(
            self.request.destination,
            None,
            image_media_type(self.request.format),
            ((unbuilt.platform, None),) if unbuilt.platform else (),
            True,
            unbuilt.report,
            time.monotonic() - self.began_at,
            None,
            dry_run.plan_build(unbuilt.missing, self.request.all_tags, state.found),
        )
        outcome.log_planned_changes()
        return outcome


def find_unchanged(
    state: CopyState, request: ReplicationRequest, reader: ContentReader
) -> Manifest | None:
    """Return the destination's manifest if all tags point at the source's digest already."""
    current = state.current
    if current is None or any(digest != state.pinned for digest in state.found.values()):
        return None
    if request.needs_source_referrers or request.arch_tags or not reader.takes_as_is(current):
        return None
    _LOGGER.info("nothing to do", extra={"digest": str(current.digest)})
    return current


def convert_content(
    content: Content, request: ReplicationRequest, reader: ContentReader
) -> Content:
    """Convert content to the requested format.

    Raises
    ------
    RequestError
        The format cannot express it, or referrers name the digest that changes.
    """
    converted = reader.convert(content)
    if converted is not content and request.referrers is not Referrers.IGNORED:
        raise RequestError(
            "invalid ",
            Setting.COPY_REFERRERS,
            f": converting {request.source} changes its digest, which referrers name",
            hint=("Remove ", Setting.FORMAT, " or ", Setting.COPY_REFERRERS, "."),
        )
    return converted


def plan_copy(
    request: ReplicationRequest,
    content: Content,
    state: CopyState,
    reader: ContentReader,
    mount_from: str | None,
    known_blobs: Mapping[Digest, Descriptor],
) -> ReplicationPlan | None:
    """Plan the copy of what is missing; return None when nothing is."""
    found, root = state.found, content.root
    tags = [tag for tag in request.all_tags if found[tag] != root.digest]
    child_tags = [
        (tag, content.children.get(digest) or reader.fetch(digest))
        for tag, digest in reader.arch_digests(content).items()
        if found[tag] != digest
    ]
    if not tags and not child_tags:
        return None
    within_repository = mount_from == request.destination.repository
    if (within_repository and not content.is_made) or root.digest in found.values():
        return tag_plan(root, tags, child_tags)
    are_known = content.children or within_repository
    return make_plan(
        root,
        content.children if are_known else reader.read_children(root),
        tags,
        child_tags=child_tags,
        known=(*content.present, *known_blobs.values()),
        mount_from=mount_from,
    )


def _log_plan(content: Content, plan: ReplicationPlan | None, *, is_dry_run: bool) -> None:
    _LOGGER.info(
        "dry run" if is_dry_run else "copying",
        extra={
            "digest": str(content.root.digest),
            "tags": [tag for tag, _ in plan.final_pushes] if plan else [],
            "blobs": len(plan.blobs) if plan else 0,
            "blobs_present": len(plan.present) if plan else 0,
        },
    )
