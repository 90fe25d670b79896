"""Comparison of selected tags with the destination by digest, without reading manifests."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from ecr_image_replicator.errors import (
    DeniedError,
    NotFoundError,
    ReplicationError,
    Side,
    StoppedError,
    UnavailableError,
)
from ecr_image_replicator.mirror.known import options_fingerprint
from ecr_image_replicator.mirror.results import source_text
from ecr_image_replicator.model.manifests import INDEX_MEDIA_TYPES, MANIFEST_MEDIA_TYPES
from ecr_image_replicator.request.parsing import Referrers
from ecr_image_replicator.request.platform_choice import platforms_of_index

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from concurrent.futures import ThreadPoolExecutor

    from ecr_image_replicator.copy.tag_ports import TagHead, TagReader
    from ecr_image_replicator.deadline import Deadline
    from ecr_image_replicator.mirror.known import KnownDigests, KnownImages
    from ecr_image_replicator.model.digests import Digest
    from ecr_image_replicator.model.platforms import Platform
    from ecr_image_replicator.request.parsing import ReplicationRequest


@dataclass(frozen=True, slots=True)
class MirrorImage:
    """One image to mirror, within its entry.

    Attributes
    ----------
    selector
        The tag or digest of the source, or the unchanged reference of an archive.
    destination_tags
        The tags to push.
    digest
        The digest of the source's tag, None if unknown.
    reason
        The reason for its selection.
    is_new
        Whether none of the destination tags exists, False if unknown.
    """

    selector: str
    destination_tags: tuple[str, ...]
    digest: Digest | None = None
    reason: str = ""
    is_new: bool = False


class ComparisonStatus(Enum):
    """The result of comparing an image."""

    CHANGED = "changed"
    UNCHANGED = "unchanged"
    UNCOMPARED = "not compared"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ComparedImage:
    """An image with the result of its comparison.

    Attributes
    ----------
    error
        The error of an image that cannot be copied, or None.
    """

    image: MirrorImage
    status: ComparisonStatus
    error: ReplicationError | None = None


class DestinationDigests:
    """The digests of a destination repository's tags, listed at once or looked up one by one.

    Parameters
    ----------
    listed
        All tags with their digests, None to look tags up.
    find
        Looks up a tag.
    """

    def __init__(
        self, listed: Mapping[str, Digest] | None, find: Callable[[str], TagHead | None]
    ) -> None:
        self._listed = listed
        self._find = find

    def find(self, tag: str) -> tuple[bool, Digest | None]:
        """Return whether a tag exists, and its digest if known."""
        if self._listed is not None:
            return tag in self._listed, self._listed.get(tag)
        head = self._find(tag)
        return head is not None, head.digest if head else None


class Comparer:
    """Compares the images of one entry.

    Parameters
    ----------
    request
        The entry's options and its destination.
    source
        Looks up the source's tags.
    destination
        The digests of the destination's tags.
    known
        Digests of earlier runs.
    default_platforms
        Platforms to copy if the request has none.
    only_missing
        Whether to skip the comparison of existing tags.
    """

    def __init__(
        self,
        request: ReplicationRequest,
        source: TagReader,
        destination: DestinationDigests,
        known: KnownImages,
        *,
        default_platforms: Sequence[Platform],
        only_missing: bool = False,
    ) -> None:
        self._request = request
        self._source = source
        self._destination = destination
        self._known = known
        self._wanted = platforms_of_index(request, default_platforms)
        self._options = options_fingerprint(request, default_platforms)
        self._only_missing = only_missing
        #: Whether a host did not respond to all attempts: the other images would wait as long.
        self._is_unreachable = False

    def compare_all(
        self, images: Iterable[MirrorImage], pool: ThreadPoolExecutor, deadline: Deadline
    ) -> list[ComparedImage]:
        """Compare images in parallel. At the deadline, the remaining images stay uncompared."""

        def compare(image: MirrorImage) -> ComparedImage:
            if self._is_unreachable:
                return ComparedImage(image, ComparisonStatus.UNCOMPARED)
            try:
                deadline.check("compare")
                return self._compare(image)
            except (NotFoundError, DeniedError) as error:
                return ComparedImage(image, ComparisonStatus.FAILED, error)
            except StoppedError:
                raise
            except ReplicationError as error:
                self._is_unreachable |= isinstance(error, UnavailableError) and not error.status
                # the worker retries, waits if necessary, and reports errors
                return ComparedImage(image, ComparisonStatus.UNCOMPARED)

        return list(pool.map(compare, images))

    def _compare(self, image: MirrorImage) -> ComparedImage:
        there = {tag: self._find_destination(tag) for tag in image.destination_tags}
        exists = all(found for found, _ in there.values())
        if self._only_missing and exists:
            return ComparedImage(image, ComparisonStatus.UNCHANGED)
        head = self._source.find(image.selector)
        if head is None:
            return ComparedImage(image, ComparisonStatus.FAILED, _missing(self._request, image))
        is_new = all(found is False for found, _ in there.values())
        image = replace(image, digest=head.digest, is_new=is_new)
        digests = [digest for _, digest in there.values()]
        if head.digest is None or (exists and None in digests):
            return ComparedImage(image, ComparisonStatus.UNCOMPARED)
        is_same = exists and self._is_same(image, head, there)
        return ComparedImage(
            image, ComparisonStatus.UNCHANGED if is_same else ComparisonStatus.CHANGED
        )

    def _find_destination(self, tag: str) -> tuple[bool | None, Digest | None]:
        try:
            return self._destination.find(tag)
        except DeniedError:
            # some registries return access denied for missing repositories: the push decides
            return None, None

    def _is_same(
        self,
        image: MirrorImage,
        head: TagHead,
        there: Mapping[str, tuple[bool | None, Digest | None]],
    ) -> bool:
        """Return whether all destination tags have the content of the source's digest."""
        if self._request.referrers is not Referrers.IGNORED or self._request.arch_tags:
            return False  # signatures can have been added since, and platform tags are not compared
        if all(
            self._is_known(self._known.find(f"{self._request.destination.name}:{tag}"), head, own)
            for tag, (_, own) in there.items()
        ):
            return True
        if self._request.signature_key or self._request.format:
            return False
        is_copied_whole = (head.media_type in INDEX_MEDIA_TYPES and not self._wanted) or (
            head.media_type in MANIFEST_MEDIA_TYPES and not self._request.platforms
        )
        return is_copied_whole and all(own == image.digest for _, own in there.values())

    def _is_known(self, known: KnownDigests | None, head: TagHead, own: Digest | None) -> bool:
        return (
            known is not None
            and known.source == head.digest
            and known.destination == own
            and known.options == self._options
        )


def _missing(request: ReplicationRequest, image: MirrorImage) -> NotFoundError:
    return NotFoundError(
        f"cannot pull {source_text(request.source, image)}: image not found (404 Not Found)",
        side=Side.SOURCE,
        status=404,
        code="MANIFEST_UNKNOWN",
        hint="Check the tag.",
    )
