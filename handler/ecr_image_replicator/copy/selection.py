"""Which of an index's images are meant; pure, no I/O.

OCI image index specification 1.1: the first entry that fits is the one. BuildKit's "Image
attestation storage": what says ``unknown/unknown`` describes another entry and goes with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.errors import PlatformNotFoundError
from ecr_image_replicator.model.manifests import INDEX_MEDIA_TYPES
from ecr_image_replicator.sanitize import sanitize

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ecr_image_replicator.model.digests import Digest
    from ecr_image_replicator.model.manifests import Descriptor, ImageIndex
    from ecr_image_replicator.model.platforms import Platform

_ATTESTATION_TYPE: Final = "vnd.docker.reference.type"
#: Of answers of 4,096 bytes; no index that is meant to be used has as many.
_SHOWN_PLATFORMS: Final = 24
_SHOWN_CHARACTERS: Final = 80
_ATTESTED_DIGEST: Final = "vnd.docker.reference.digest"


@dataclass(frozen=True, slots=True)
class Entry:
    """What an index lists, or an index in it, however deep.

    Attributes
    ----------
    descriptor
        As it stands there.
    platform
        The descriptor's own, else that of the index it is in, else what its config said; None
        when it is not known.
    index, position
        Where it stands.
    """

    descriptor: Descriptor
    platform: Platform | None
    index: ImageIndex
    position: int

    @property
    def is_image(self) -> bool:
        """Whether it is for a platform that is known."""
        return self.platform is not None and self.platform.is_runnable

    def describes(self, digest: Digest) -> bool:
        """Whether it is an attestation of the manifest of that digest."""
        notes = self.descriptor.annotations
        return notes.get(_ATTESTATION_TYPE) == "attestation-manifest" and notes.get(
            _ATTESTED_DIGEST
        ) == str(digest)


def list_entries(index: ImageIndex, nested: Mapping[Digest, ImageIndex]) -> tuple[Entry, ...]:
    """List what an index holds, in its order, with nested indexes replaced by what they hold.

    Parameters
    ----------
    nested
        Every index below it.
    """

    def walk(parent: ImageIndex, inherited: Platform | None) -> Iterator[Entry]:
        for position, child in enumerate(parent.manifests):
            platform = child.platform or inherited
            if child.digest in nested:
                yield from walk(nested[child.digest], platform)
            else:
                yield Entry(child, platform, parent, position)

    return tuple(walk(index, None))


def nested_indexes(index: ImageIndex) -> tuple[Descriptor, ...]:
    """Give the indexes that an index lists."""
    return tuple(child for child in index.manifests if child.media_type in INDEX_MEDIA_TYPES)


def find_platform(offered: Sequence[Platform | None], wanted: Platform) -> int | None:
    """Find the platform that serves another best; its position, None when none does.

    The best variant that is there wins, and among equals the first.
    """
    admitted = [
        (position, platform)
        for position, platform in enumerate(offered)
        if platform is not None and wanted.admits(platform)
    ]
    for variant in wanted.variants:
        for position, platform in admitted:
            if platform.variant == variant:
                return position
    # where no variant is asked for and none is older than another, any will do
    anything_goes = not wanted.variant and not wanted.has_ordered_variants
    return admitted[0][0] if admitted and anything_goes else None


def choose_entry(entries: Sequence[Entry], wanted: Platform, origin: str) -> Entry:
    """Find the image of a platform.

    Parameters
    ----------
    origin
        The reference, for the error's sentence.

    Raises
    ------
    PlatformNotFoundError
        The sentence lists the platforms that there are.
    """
    position = find_platform([entry.platform for entry in entries], wanted)
    if position is None:
        there = describe_platforms(entry.platform for entry in entries if entry.platform)
        raise PlatformNotFoundError(
            f"{origin} has no image for {wanted.full_name}; it has {there or 'no platforms at all'}"
        )
    return entries[position]


def with_attestations(entries: Sequence[Entry], chosen: Sequence[Entry]) -> tuple[Entry, ...]:
    """Give the chosen entries, each once, and those that describe them, in the index's order."""
    digests = {entry.descriptor.digest for entry in chosen}
    return tuple(
        entry
        for entry in entries
        if entry in chosen or any(entry.describes(digest) for digest in digests)
    )


def describe_platforms(platforms: Iterable[Platform]) -> str:
    """List platforms for a sentence, each once, as many as fit beside the rest of it."""
    names = list(dict.fromkeys(each.full_name for each in platforms if each.is_runnable))
    listed = ", ".join(sanitize(name, _SHOWN_CHARACTERS) for name in names[:_SHOWN_PLATFORMS])
    left = len(names) - _SHOWN_PLATFORMS
    return f"{listed} and {left} more" if left > 0 else listed
