"""Comparing chosen tags with the destination, by digests alone: no manifest is read."""

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
from ecr_image_replicator.model.manifests import INDEX_MEDIA_TYPES, MANIFEST_MEDIA_TYPES
from ecr_image_replicator.request.parsing import Referrers

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
        The source's tag, or its digest; an archive's reference as it was written.
    destination_tags
        The tags that are to point at it.
    digest
        What the source's tag points at; None when that is not known yet.
    reason
        Why it was chosen.
    is_new
        Whether comparing found none of the destination tags; False when that is not known.
    """

    selector: str
    destination_tags: tuple[str, ...]
    digest: Digest | None = None
    reason: str = ""
    is_new: bool = False


class Verdict(Enum):
    """What comparing said of an image."""

    CHANGED = "changed"
    UNCHANGED = "unchanged"
    UNCOMPARED = "not compared"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ComparedImage:
    """An image and what comparing said of it.

    Attributes
    ----------
    error
        Of an image that cannot be copied; None otherwise.
    """

    image: MirrorImage
    verdict: Verdict
    error: ReplicationError | None = None


class DestinationDigests:
    """What a destination repository's tags point at: listed at once, or looked up one by one.

    Parameters
    ----------
    listed
        Every tag with its digest; None when tags are looked up.
    find
        Looks a tag up.
    """

    def __init__(
        self, listed: Mapping[str, Digest] | None, find: Callable[[str], TagHead | None]
    ) -> None:
        self._listed = listed
        self._find = find

    def find(self, tag: str) -> tuple[bool, Digest | None]:
        """Return whether a tag exists, and its digest if that is known."""
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
        What earlier runs saw.
    default_platforms
        Taken from an index when the request chooses none.
    only_missing
        Whether a tag that exists is not compared.
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
        self._wanted = () if request.copies_index else request.platforms or default_platforms
        self._options = options_fingerprint(request, default_platforms)
        self._only_missing = only_missing
        #: Whether a host did not respond to all attempts: the other images would wait as long.
        self._is_unreachable = False

    def compare_all(
        self, images: Iterable[MirrorImage], pool: ThreadPoolExecutor, deadline: Deadline
    ) -> list[ComparedImage]:
        """Compare images in parallel; those that the time does not suffice for stay uncompared."""

        def compare(image: MirrorImage) -> ComparedImage:
            if self._is_unreachable:
                return ComparedImage(image, Verdict.UNCOMPARED)
            try:
                deadline.check("compare")
                return self._compare(image)
            except (NotFoundError, DeniedError) as error:
                return ComparedImage(image, Verdict.FAILED, error)
            except StoppedError:
                raise
            except ReplicationError as error:
                self._is_unreachable |= isinstance(error, UnavailableError) and not error.status
                # the worker tries again, waits if need be, and reports
                return ComparedImage(image, Verdict.UNCOMPARED)

        return list(pool.map(compare, images))

    def _compare(self, image: MirrorImage) -> ComparedImage:
        there = {tag: self._find_destination(tag) for tag in image.destination_tags}
        exists = all(found for found, _ in there.values())
        if self._only_missing and exists:
            return ComparedImage(image, Verdict.UNCHANGED)
        head = self._source.find(image.selector)
        if head is None:
            return ComparedImage(image, Verdict.FAILED, _missing(self._request, image))
        is_new = all(found is False for found, _ in there.values())
        image = replace(image, digest=head.digest, is_new=is_new)
        digests = [digest for _, digest in there.values()]
        if head.digest is None or (exists and None in digests):
            return ComparedImage(image, Verdict.UNCOMPARED)
        is_same = exists and self._is_same(image, head, there)
        return ComparedImage(image, Verdict.UNCHANGED if is_same else Verdict.CHANGED)

    def _find_destination(self, tag: str) -> tuple[bool | None, Digest | None]:
        try:
            return self._destination.find(tag)
        except DeniedError:
            # some registries deny what does not exist: the push decides
            return None, None

    def _is_same(
        self,
        image: MirrorImage,
        head: TagHead,
        there: Mapping[str, tuple[bool | None, Digest | None]],
    ) -> bool:
        """Return whether every destination tag has what the source's digest stands for."""
        if self._request.referrers is not Referrers.IGNORED or self._request.arch_tags:
            return False  # signatures may have been added since, and other tags count too
        if all(
            self._is_known(self._known.find(f"{self._request.destination.name}:{tag}"), head, own)
            for tag, (_, own) in there.items()
        ):
            return True
        if self._request.signature_key or getattr(self._request, "format", None):
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
    source = getattr(request.source, "name", "")
    return NotFoundError(
        f"cannot pull {source}:{image.selector}: image not found (404 Not Found)",
        side=Side.SOURCE,
        status=404,
        code="MANIFEST_UNKNOWN",
        hint="Check the tag.",
    )
