"""The result of each image, as stored between invocations."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from ecr_image_replicator.errors import Setting, Term, UnavailableError
from ecr_image_replicator.model.archive_references import ArchiveReference
from ecr_image_replicator.model.digests import Digest
from ecr_image_replicator.request.properties import property_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ecr_image_replicator.errors import Name, ReplicationError
    from ecr_image_replicator.mirror.compare import MirrorImage
    from ecr_image_replicator.model.references import ImageReference
    from ecr_image_replicator.request.mirror import MirrorEntry

#: Properties of an entry of Repositories, by the property of an image.
_REPOSITORY_NAMES: Final[Mapping[Name, str]] = {
    Setting.SOURCE: "SrcRepository",
    Setting.DESTINATION: "DestRepository",
}
_TERMS: Final[Mapping[Name, str]] = {Term.RETRY: "run the mirror again"}


class ImageStatus(Enum):
    """The status of an image."""

    COPIED = "Copied"
    UNCHANGED = "Unchanged"
    FAILED = "Failed"
    LEFT = "Left"


@dataclass(frozen=True, slots=True)
class ImageResult:
    """The result of one image of a run.

    Attributes
    ----------
    source, destination
        References, ``host/repository:tag``. The destination has the first tag.
    destination_tags
        All destination tags.
    status
        The status of the image.
    source_digest, destination_digest
        The digest that was read and the digest of the tags, None if unknown.
    bytes_copied
        Copied bytes of blobs.
    error, kind
        Message and class of the error of an image that was not copied.
    """

    source: str
    destination: str
    destination_tags: tuple[str, ...]
    status: ImageStatus
    source_digest: Digest | None = None
    destination_digest: Digest | None = None
    bytes_copied: int = 0
    error: str = ""
    kind: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the stored form."""
        fields = {
            "Source": self.source,
            "Destination": self.destination,
            "Tags": list(self.destination_tags),
            "Status": self.status.value,
            "SourceDigest": str(self.source_digest or ""),
            "Digest": str(self.destination_digest or ""),
            "Bytes": self.bytes_copied,
            "Error": self.error,
            "Kind": self.kind,
        }
        return {name: value for name, value in fields.items() if value not in ("", 0)}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> ImageResult:
        """Parse the stored form.

        Raises
        ------
        KeyError, ValueError, InvalidDigestError
            The value is invalid.
        """
        return cls(
            source=fields["Source"],
            destination=fields["Destination"],
            destination_tags=tuple(fields["Tags"]),
            status=ImageStatus(fields["Status"]),
            source_digest=parse_optional_digest(fields.get("SourceDigest")),
            destination_digest=parse_optional_digest(fields.get("Digest")),
            bytes_copied=fields.get("Bytes", 0),
            error=fields.get("Error", ""),
            kind=fields.get("Kind", ""),
        )


def image_result(
    entry: MirrorEntry, image: MirrorImage, status: ImageStatus, *, error: str = "", kind: str = ""
) -> ImageResult:
    """Return an image's result, with the digest that the comparison found."""
    return ImageResult(
        source=source_text(entry.template.source, image),
        destination=f"{entry.destination_name}:{image.destination_tags[0]}",
        destination_tags=image.destination_tags,
        status=status,
        source_digest=image.digest,
        error=error,
        kind=kind,
    )


def source_text(source: ImageReference | ArchiveReference, image: MirrorImage) -> str:
    """Return an image's reference in the source of its entry."""
    if isinstance(source, ArchiveReference):
        return image.selector
    return source.manifest_name(image.selector)


def parse_optional_digest(text: str | None) -> Digest | None:
    """Parse a digest, or return None for None."""
    return Digest.parse(text) if text else None


def error_text(error: ReplicationError, entry: MirrorEntry | None = None) -> str:
    """Return an error's message with the names of properties.

    A host that cannot be reached is named after the entry's property.

    Parameters
    ----------
    entry
        The entry of the error, None for the mirror.
    """
    has_tags = entry is not None and entry.selection is not None
    names = {**_TERMS, **_REPOSITORY_NAMES} if has_tags else _TERMS
    text = error.render(lambda name: names.get(name) or property_name(name))
    if entry is not None and isinstance(error, UnavailableError):
        return f"{entry.property_of(error.side)}: {text}"
    return text
