"""Names of archives in S3, and of the image in one.

::

    s3://bucket/key                 the only image in the archive
    s3://bucket/key:repository:tag  the image of that name
    s3://bucket/key:@N              the image at a position, from 0

``?versionId=…`` after the key or at the end pins the object's version. Where a key holds colons,
it must end in one of `ARCHIVE_SUFFIXES`; otherwise the first colon ends the key.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from ecr_image_replicator.errors import InvalidReferenceError

ARCHIVE_SUFFIXES: Final = (
    ".tar",
    ".tar.gz",
    ".tgz",
    ".tar.zst",
    ".tar.zstd",
    ".tzst",
    ".tar.bz2",
    ".tbz2",
    ".tbz",
    ".tar.xz",
    ".txz",
)
_SCHEME: Final = re.compile(r"s3://", re.IGNORECASE)
_VERSION: Final = re.compile(r"\?versionId=([^:?&]*)")
_POSITION: Final = re.compile(r"(.*):@([0-9]+)", re.DOTALL)
_END_OF_KEY: Final = re.compile(
    f"(?:{'|'.join(map(re.escape, ARCHIVE_SUFFIXES))})(?=:)", re.IGNORECASE
)
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,511}")
_MAX_KEY_BYTES: Final = 1024
_MAX_POSITION_DIGITS: Final = 6


@dataclass(frozen=True, slots=True)
class ArchiveReference:
    """An image in a tar archive that is an object in S3.

    Attributes
    ----------
    bucket, key
        The object.
    version_id
        "" for the object's current version.
    selector
        Which of the archive's images: a name, a position from 0, or None for the only one.
    etag
        What the object's bytes are held to, when they were read before; "" for as they are. No
        text gives it.
    """

    bucket: str
    key: str
    version_id: str = ""
    selector: str | int | None = None
    etag: str = ""

    @property
    def location(self) -> str:
        """The object, without the image in it."""
        version = f"?versionId={self.version_id}" if self.version_id else ""
        return f"s3://{self.bucket}/{self.key}{version}"

    def __str__(self) -> str:
        if self.selector is None:
            return self.location
        mark = "@" if isinstance(self.selector, int) else ""
        return f"{self.location}:{mark}{self.selector}"


def is_archive_reference(text: str) -> bool:
    """Tell whether a text means an object in S3, well-formed or not."""
    return _SCHEME.match(text) is not None


def parse_archive_reference(text: str) -> ArchiveReference:
    """Read ``s3://bucket/key[?versionId=…][:repository:tag | :@N]``.

    Raises
    ------
    InvalidReferenceError
        The sentence quotes the text and says which part is wrong.
    """
    scheme = _SCHEME.match(text)
    if scheme is None:
        raise _invalid(text, "it does not begin with s3://")
    rest, version_id = _split_version(text, text[scheme.end() :])
    bucket, _, path = rest.partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise _invalid(text, f"{bucket[:80]!r} is not a bucket's name")
    key, selector = _split_selector(text, path)
    if not key or len(key.encode(errors="replace")) > _MAX_KEY_BYTES:
        raise _invalid(text, f"its key is empty or longer than {_MAX_KEY_BYTES} bytes")
    return ArchiveReference(bucket, key, version_id, selector)


def _split_version(text: str, rest: str) -> tuple[str, str]:
    found = _VERSION.findall(rest)
    if not found:
        return rest, ""
    if len(found) > 1 or not found[0]:
        raise _invalid(text, "versionId needs one value")
    return _VERSION.sub("", rest), found[0]


def _split_selector(text: str, path: str) -> tuple[str, str | int | None]:
    position = _POSITION.fullmatch(path)
    if position is not None:
        if len(position[2]) > _MAX_POSITION_DIGITS:
            raise _invalid(text, f"no archive has an image @{position[2][:20]}")
        return position[1], int(position[2])
    if path.lower().endswith(ARCHIVE_SUFFIXES):
        return path, None
    suffix = _END_OF_KEY.search(path)
    end = suffix.end() if suffix else path.find(":")
    if end < 0:
        return path, None
    name = path[end + 1 :]
    if not _NAME.fullmatch(name):
        raise _invalid(
            text,
            f"{name[:80]!r} is neither repository:tag nor @ and a number; a key that holds colons "
            f"must end in {', '.join(ARCHIVE_SUFFIXES)}",
        )
    return path[:end], name


def _invalid(text: str, reason: str) -> InvalidReferenceError:
    shown = text if len(text) <= 300 else text[:297] + "..."
    return InvalidReferenceError(
        f"{shown!r} is not a reference to an archive, s3://bucket/key[:repository:tag]: {reason}"
    )
