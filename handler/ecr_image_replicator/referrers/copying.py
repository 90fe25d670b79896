"""Copying of referrers: signatures, SBOMs, attestations.

A referrer names a manifest as its ``subject`` (OCI image and distribution specifications 1.1), or
is under a tag that cosign derives from the manifest's digest (cosign's "Signature Specification").
Referrers can have referrers.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from ecr_image_replicator.copy.plan import make_plan
from ecr_image_replicator.copy.ports import ReferrersList
from ecr_image_replicator.copy.results import BlobResults, merge_results
from ecr_image_replicator.errors import (
    Assignment,
    ContentError,
    InvalidManifestError,
    ReferrersError,
    RegistryError,
    ReplicationError,
    Setting,
    ThrottledError,
    UnavailableError,
)
from ecr_image_replicator.model.manifests import Descriptor, ImageManifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from ecr_image_replicator.copy.plan import ReplicationPlan
    from ecr_image_replicator.copy.ports import ReferrerStore
    from ecr_image_replicator.model.digests import Digest
    from ecr_image_replicator.model.manifests import Manifest

_LOGGER: Final = logging.getLogger(__name__)
COSIGN_SIGNATURE: Final = "sig"
_COSIGN_KINDS: Final = (COSIGN_SIGNATURE, "att", "sbom")
#: A signature of an SBOM of an image has depth 2.
_MAX_DEPTH: Final = 4
_MAX_REFERRERS: Final = 1000
_PARALLEL_COPIES: Final = 4


class FoundReferrer(NamedTuple):
    """A referrer at the source.

    Attributes
    ----------
    subject
        The digest that it refers to.
    descriptor
        The descriptor of its manifest.
    tag
        The cosign tag that it was found by; "" if it was found by its subject.
    """

    subject: Digest
    descriptor: Descriptor
    tag: str = ""

    def __str__(self) -> str:
        name = f"{self.tag} " if self.tag else ""
        return f"{name}{self.descriptor.digest}"


@dataclass(slots=True)
class ReferrersReport:
    """The outcome of copying an image's referrers.

    Attributes
    ----------
    copied, present
        The referrers that were pushed, and those that existed already.
    refused
        The referrers that cannot be copied.
    results
        The outcome of each blob.
    """

    copied: list[FoundReferrer] = field(default_factory=list)
    present: list[FoundReferrer] = field(default_factory=list)
    refused: list[FoundReferrer] = field(default_factory=list)
    results: BlobResults = field(default_factory=dict)


def cosign_tag(subject: Digest, kind: str) -> str:
    """Return the cosign tag of a manifest's signatures, attestations or SBOM."""
    return f"{subject.algorithm}-{subject.encoded}.{kind}"


class ReferrerFinder:
    """Finds the referrers of manifests, and their referrers, at the source.

    Parameters
    ----------
    store
        The referrers of the source's repository.
    keep
        Called with each manifest that was read.
    streams
        The number of parallel requests.
    """

    def __init__(
        self, store: ReferrerStore, keep: Callable[[Manifest], None], *, streams: int
    ) -> None:
        self._store = store
        self._keep = keep
        self._streams = streams

    def find(self, subjects: Iterable[Digest]) -> list[list[FoundReferrer]]:
        """Return all referrers by level: each refers to a subject or to one of the previous level.

        Raises
        ------
        InvalidManifestError
            They nest too deeply, or there are too many.
        """
        levels: list[list[FoundReferrer]] = []
        known = pending = list(dict.fromkeys(subjects))
        with ThreadPoolExecutor(self._streams, thread_name_prefix="referrers") as pool:
            while pending:
                listed = pool.map(self._store.list_referrers, pending)
                tags = [
                    (each, cosign_tag(each, kind)) for each in pending for kind in _COSIGN_KINDS
                ]
                tagged = pool.map(lambda pair: self._find_tagged(*pair), tags)
                level = [
                    FoundReferrer(subject, descriptor)
                    for subject, found in zip(pending, listed, strict=True)
                    for descriptor in found.descriptors
                ]
                level += filter(None, tagged)
                if not level:
                    break
                levels.append(level)
                digests = dict.fromkeys(each.descriptor.digest for each in level)
                pending = [digest for digest in digests if digest not in known]
                known = known + pending
                if len(levels) > _MAX_DEPTH or sum(map(len, levels)) > _MAX_REFERRERS:
                    raise InvalidManifestError(
                        f"invalid referrers: they nest deeper than {_MAX_DEPTH} levels or are more "
                        f"than {_MAX_REFERRERS}",
                        hint=("Copy the image without ", Setting.COPY_REFERRERS, "."),
                    )
        return levels

    def _find_tagged(self, subject: Digest, tag: str) -> FoundReferrer | None:
        manifest = self._store.find_tagged(tag)
        if manifest is None:
            return None
        self._keep(manifest)
        return FoundReferrer(subject, describe(manifest), tag)


class ReferrerCopier:
    """Copies referrers, so that clients find them at the destination as at the source.

    Parameters
    ----------
    source
        Reads a manifest of the source by digest.
    read_children
        Reads the manifests below a referrer that is an index.
    destination
        The referrers of the destination's repository.
    transfer
        Carries out one plan; its failure does not end the others.
    mount_from
        A repository of the destination's registry that has every blob.
    is_required
        Whether a referrer that cannot be copied is an error.
    """

    def __init__(
        self,
        source: Callable[[Digest], Manifest],
        read_children: Callable[[Manifest], Mapping[Digest, Manifest]],
        destination: ReferrerStore,
        transfer: Callable[[ReplicationPlan], BlobResults],
        *,
        mount_from: str | None,
        is_required: bool,
    ) -> None:
        self._source = source
        self._read_children = read_children
        self._destination = destination
        self._transfer = transfer
        self._mount_from = mount_from
        self._is_required = is_required
        self._lists: dict[Digest, ReferrersList | ReplicationError] = {}
        self._shared = _SharedBlobs()

    def copy(self, levels: Sequence[Sequence[FoundReferrer]]) -> ReferrersReport:
        """Copy missing referrers level by level, and add them to the destination's lists.

        Raises
        ------
        ReferrersError
            A required referrer cannot be copied.
        ReplicationError
            A temporary failure.
        """
        report = ReferrersReport()
        with ThreadPoolExecutor(_PARALLEL_COPIES, thread_name_prefix="referrers") as pool:
            for level in levels:
                subjects = list({each.subject for each in level if not each.tag} - {*self._lists})
                lists = pool.map(self._list, subjects)
                self._lists.update(zip(subjects, lists, strict=True))
                for each, outcome in zip(level, pool.map(self._copy, level), strict=True):
                    self._note(report, each, outcome)
        self._list_by_tag(report)
        return report

    def _list(self, subject: Digest) -> ReferrersList | ReplicationError:
        """Return the destination's referrers, or why they cannot be listed."""
        try:
            return self._destination.list_referrers(subject)
        except (RegistryError, ContentError) as error:
            return _reason(error)

    def _copy(self, found: FoundReferrer) -> BlobResults | ReplicationError | None:
        """Copy one referrer; return its results, None if it exists, or why it cannot be copied."""
        listed = None if found.tag else self._lists[found.subject]
        if isinstance(listed, ReplicationError):
            return listed
        try:
            if listed is None and self._has_tagged(found):
                return None
            if listed and any(d.digest == found.descriptor.digest for d in listed.descriptors):
                return None
            manifest = self._source(found.descriptor.digest)
            if not found.tag and (
                manifest.subject is None or manifest.subject.digest != found.subject
            ):
                return ContentError(f"its manifest does not name {found.subject} as its subject")
            return self._carry_out(
                make_plan(
                    manifest,
                    self._read_children(manifest),
                    (found.tag,) if found.tag else (),
                    mount_from=self._mount_from,
                )
            )
        except (RegistryError, ContentError) as error:
            return _reason(error)

    def _carry_out(self, plan: ReplicationPlan) -> BlobResults:
        """Copy the blobs that no other referrer copies, wait for the rest, push the manifests."""
        results: BlobResults = {}
        with self._shared.divided(plan.blobs) as (own, others):
            if own:
                results = self._transfer(plan.of_blobs(own))
        there = tuple(blob for blob, is_moved in others if is_moved.result())
        left = tuple(blob for blob, _ in others if blob not in there)
        return merge_results(results, self._transfer(plan._replace(blobs=left, present=there)))

    def _has_tagged(self, found: FoundReferrer) -> bool:
        current = self._destination.find_tagged(found.tag)
        if current is None:
            return False
        if current.digest == found.descriptor.digest:
            return True
        # cosign adds to a tag: a copy that was signed too has the source's signatures and more
        wanted = _layers(self._source(found.descriptor.digest))
        return bool(wanted) and wanted <= _layers(current)

    def _note(
        self,
        report: ReferrersReport,
        found: FoundReferrer,
        outcome: BlobResults | ReplicationError | None,
    ) -> None:
        if outcome is None:
            report.present.append(found)
        elif isinstance(outcome, ReplicationError):
            self._refuse(report, found, outcome)
        else:
            report.copied.append(found)
            report.results = merge_results(report.results, outcome)

    def _refuse(
        self, report: ReferrersReport, found: FoundReferrer, reason: ReplicationError
    ) -> None:
        if self._is_required:
            raise ReferrersError(
                f"cannot copy referrer {found} of {found.subject}: ",
                *reason.message,
                hint=(
                    "Use ",
                    Assignment(Setting.COPY_REFERRERS, "true"),
                    " to copy the image without it.",
                ),
            )
        details = {"referrer": str(found), "why": str(reason)}
        _LOGGER.warning("a referrer was not copied", extra=details)
        report.refused.append(found)

    def _list_by_tag(self, report: ReferrersReport) -> None:
        """Add referrers to the fallback tags of a destination without the referrers API.

        Twice, because another writer may have read the tag before the first write and overwritten
        it since.
        """
        by_subject: dict[Digest, list[FoundReferrer]] = {}
        for found in report.copied:
            listed = None if found.tag else self._lists[found.subject]
            if isinstance(listed, ReferrersList) and not listed.is_kept_by_registry:
                by_subject.setdefault(found.subject, []).append(found)
        for _ in range(2):
            for subject, referrers in list(by_subject.items()):
                descriptors = [describe(self._source(each.descriptor.digest)) for each in referrers]
                try:
                    self._destination.add_to_fallback_tag(subject, descriptors)
                except (RegistryError, ContentError) as error:
                    reason = _reason(error)
                    del by_subject[subject]
                    for found in referrers:
                        report.copied.remove(found)
                        self._refuse(report, found, reason)


class _SharedBlobs:
    """Assigns each blob to one plan: nearly all artifacts share the same empty config."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_moved: dict[Digest, Future[bool]] = {}

    @contextmanager
    def divided(
        self, blobs: Iterable[Descriptor]
    ) -> Iterator[tuple[tuple[Descriptor, ...], list[tuple[Descriptor, Future[bool]]]]]:
        """Return the blobs to copy in the context, and those that other plans copy."""
        own: list[Descriptor] = []
        others: list[tuple[Descriptor, Future[bool]]] = []
        with self._lock:
            for blob in blobs:
                known = self._is_moved.get(blob.digest)
                if known is None:
                    own.append(blob)
                    self._is_moved[blob.digest] = Future()
                else:
                    others.append((blob, known))
        is_moved = False
        try:
            yield tuple(own), others
            is_moved = True
        finally:
            for blob in own:
                self._is_moved[blob.digest].set_result(is_moved)


def _reason(error: RegistryError | ContentError) -> ReplicationError:
    """Return why a referrer cannot be copied; raise a temporary failure."""
    if isinstance(error, ThrottledError | UnavailableError):
        raise error
    return error


def describe(manifest: Manifest) -> Descriptor:
    """Return a referrer's descriptor for a list, with its artifact type and annotations."""
    artifact_type = manifest.artifact_type
    if not artifact_type and isinstance(manifest, ImageManifest):
        artifact_type = manifest.config.media_type
    return Descriptor(
        manifest.media_type,
        manifest.digest,
        len(manifest.content),
        annotations=manifest.annotations,
        artifact_type=artifact_type,
    )


def _layers(manifest: Manifest) -> set[tuple[Digest, str]]:
    """Return each signature or attestation as payload digest and annotations."""
    if not isinstance(manifest, ImageManifest):
        return set()
    return {(each.digest, str(sorted(each.annotations.items()))) for each in manifest.layers}
