"""Selection of platforms from an index; pure, no I/O.

OCI image index specification 1.1: the first entry that matches is taken. Attestations (BuildKit's
"Image attestation storage") and SOCI index manifests describe another entry and go with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.errors import Assignment, PlatformNotFoundError, Setting
from ecr_image_replicator.model.manifests import INDEX_MEDIA_TYPES
from ecr_image_replicator.sanitize import sanitize

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ecr_image_replicator.model.digests import Digest
    from ecr_image_replicator.model.manifests import Descriptor, ImageIndex
    from ecr_image_replicator.model.platforms import Platform

#: Of a response of 4,096 bytes; hardly any index has as many.
_SHOWN_PLATFORMS: Final = 24
_SHOWN_CHARACTERS: Final = 80


@dataclass(slots=True, eq=False, repr=False)
class Entry:
    """An entry of an index, or of an index nested in it.

    Attributes
    ----------
    descriptor
        The entry's descriptor.
    platform
        The descriptor's own, that of the nested index, or that of the image's config; None when
        it is not known.
    index, position
        The index that contains the entry, and the entry's position in it.
    """

    descriptor: Descriptor
    platform: Platform | None
    index: ImageIndex
    position: int

    @property
    def image_platform(self) -> Platform | None:
        """The platform of an image; None for artifacts, and when it is not known."""
        return None if self.descriptor.is_artifact else self.platform

    def describes(self, digest: Digest) -> bool:
        """Return whether this is an attestation or SOCI index of the image of that digest."""
        return self.descriptor.described_digest == str(digest)


def list_entries(index: ImageIndex, nested: Mapping[Digest, ImageIndex]) -> tuple[Entry, ...]:
    """Return the entries of an index in its order, with nested indexes replaced by their entries.

    Parameters
    ----------
    nested
        Every index below it, by digest.
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
    """Return the indexes that an index lists."""
    return tuple(child for child in index.manifests if child.media_type in INDEX_MEDIA_TYPES)


def find_platform(offered: Sequence[Platform | None], wanted: Platform) -> int | None:
    """Return the position of the platform that matches best, None when none matches.

    The best variant is taken, and the first among equals.
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
    # without a requested variant and without an order of variants, any of them matches
    anything_goes = not wanted.variant and not wanted.has_ordered_variants
    return admitted[0][0] if admitted and anything_goes else None


def choose_entry(
    entries: Sequence[Entry], wanted: Platform, origin: str, setting: Setting = Setting.PLATFORMS
) -> Entry:
    """Return the image of a platform.

    Parameters
    ----------
    origin, setting
        The reference, and the property that chooses the platform, for the message.

    Raises
    ------
    PlatformNotFoundError
        The message lists the platforms of the index.
    """
    position = find_platform([entry.image_platform for entry in entries], wanted)
    if position is None:
        offered = describe_platforms(e.image_platform for e in entries if e.image_platform)
        choose = ("Choose one of them in ", setting, ".")
        copy_all = ("Copy the whole index with ", Assignment(Setting.COPY_INDEX, "true"), ".")
        raise PlatformNotFoundError(
            f"platform {wanted.full_name} not found in {origin}: it has {offered or 'none'}",
            hint=choose if offered else copy_all,
        )
    return entries[position]


def with_artifacts(entries: Sequence[Entry], chosen: Sequence[Entry]) -> tuple[Entry, ...]:
    """Return the chosen entries and the artifacts that describe them, in the index's order."""
    digests = {entry.descriptor.digest for entry in chosen}
    return tuple(
        entry
        for entry in entries
        if entry in chosen or any(entry.describes(digest) for digest in digests)
    )


def describe_platform(platform: Platform) -> str:
    """Return a platform's name for a message."""
    return sanitize(platform.full_name, _SHOWN_CHARACTERS)


def describe_platforms(platforms: Iterable[Platform]) -> str:
    """List platforms for a message, each once, as many as fit."""
    names = list(dict.fromkeys(describe_platform(each) for each in platforms if each.is_runnable))
    listed = ", ".join(names[:_SHOWN_PLATFORMS])
    left = len(names) - _SHOWN_PLATFORMS
    return f"{listed} and {left} more" if left > 0 else listed
