"""References to an image in a tar archive, which is an object in S3 or a local file.

::

    s3://bucket/key                 the only image in the archive
    s3://bucket/key:repository:tag  the image with that name
    s3://bucket/key:@N              the image at a position, from 0

``?versionId=…`` after the key or at the end pins the object's version. A key that contains colons
must end in one of `ARCHIVE_SUFFIXES`; otherwise the first colon ends the key.

The command line also accepts ``docker-archive:FILE``, ``oci-archive:FILE`` and the path of a file,
with the same suffixes for the image.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

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
_LOCAL_SCHEME: Final = r"(?:docker|oci)-archive:"
_PATH_PREFIXES: Final = ("/", "./", "../", "~/")
_VERSION: Final = r"\?versionId=([^:?&]*)"
_POSITION: Final = r":@([0-9]+)\Z"
_END_OF_KEY: Final = re.compile(
    f"(?:{'|'.join(map(re.escape, ARCHIVE_SUFFIXES))})(?=:)", re.IGNORECASE
)
_BUCKET: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]"
_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,511}"
_MAX_KEY_BYTES: Final = 1024
_MAX_POSITION_DIGITS: Final = 6
_MAX_QUOTED: Final = 300
_S3_FORMS: Final = "Use s3://bucket/key, s3://bucket/key:repository:tag or s3://bucket/key:@N."
_LOCAL_FORMS: Final = "Use docker-archive:FILE, FILE:repository:tag or FILE:@N."


class ArchiveReference(NamedTuple):
    """An image in a tar archive.

    Attributes
    ----------
    bucket, key
        The object in S3; "" for a local file.
    version_id
        "" for the object's current version.
    selector
        The image in the archive: a name, a position from 0, or None for the only image.
    etag
        The ETag that the object must have, known from an earlier invocation; "" for any.
    path
        The local file; "" for an object in S3. Only the command line accepts local files.
    """

    bucket: str
    key: str
    version_id: str = ""
    selector: str | int | None = None
    etag: str = ""
    path: str = ""

    @property
    def location(self) -> str:
        """The object or file, without the image in it."""
        if self.path:
            return self.path
        version = f"?versionId={self.version_id}" if self.version_id else ""
        return f"s3://{self.bucket}/{self.key}{version}"

    def __str__(self) -> str:
        if self.selector is None:
            return self.location
        mark = "@" if isinstance(self.selector, int) else ""
        return f"{self.location}:{mark}{self.selector}"


def is_archive_reference(text: str) -> bool:
    """Return whether a text refers to an object in S3, well-formed or not."""
    return _SCHEME.match(text) is not None


def is_local_archive(text: str) -> bool:
    """Return whether a text refers to a local file: by scheme, as a path, or by a known suffix."""
    if is_explicitly_local(text):
        return True
    return "://" not in text and _END_OF_KEY.search(f"{text}:") is not None


def is_explicitly_local(text: str) -> bool:
    """Return whether a text can only refer to a local file, by its scheme or as a path."""
    return text.startswith(_PATH_PREFIXES) or re.match(_LOCAL_SCHEME, text) is not None


def parse_archive_reference(text: str) -> ArchiveReference:
    """Parse ``s3://bucket/key[?versionId=…][:repository:tag | :@N]``.

    Raises
    ------
    InvalidReferenceError
        The message quotes the text and says which part is invalid.
    """
    scheme = _SCHEME.match(text)
    if scheme is None:
        raise _invalid(text, "it does not begin with s3://")
    rest, version_id = _split_version(text, text[scheme.end() :])
    bucket, _, path = rest.partition("/")
    if not re.fullmatch(_BUCKET, bucket):
        raise _invalid(text, f"{bucket[:80]!r} is not a bucket name")
    key, selector = _split_selector(text, path)
    if not key or len(key.encode(errors="replace")) > _MAX_KEY_BYTES:
        raise _invalid(text, f"the key is empty or longer than {_MAX_KEY_BYTES} bytes")
    return ArchiveReference(bucket, key, version_id, selector)


def parse_local_archive(text: str) -> ArchiveReference:
    """Parse ``[docker-archive: | oci-archive:]FILE[:repository:tag | :@N]``.

    Raises
    ------
    InvalidReferenceError
        The message quotes the text and says which part is invalid.
    """
    scheme = re.match(_LOCAL_SCHEME, text)
    path, selector = _split_selector(text, text[scheme.end() :] if scheme else text)
    if not path or "\0" in path:
        raise _invalid(text, "the path is empty or has a null character")
    return ArchiveReference("", "", selector=selector, path=path)


def _split_version(text: str, rest: str) -> tuple[str, str]:
    found = re.findall(_VERSION, rest)
    if not found:
        return rest, ""
    if len(found) > 1 or not found[0]:
        raise _invalid(text, "versionId needs one value")
    return re.sub(_VERSION, "", rest), found[0]


def _split_selector(text: str, path: str) -> tuple[str, str | int | None]:
    position = re.search(_POSITION, path)
    if position is not None:
        if len(position[1]) > _MAX_POSITION_DIGITS:
            raise _invalid(text, f"the position @{position[1][:20]} is too large")
        return path[: position.start()], int(position[1])
    if path.lower().endswith(ARCHIVE_SUFFIXES):
        return path, None
    suffix = _END_OF_KEY.search(path)
    end = suffix.end() if suffix else path.find(":")
    if end < 0:
        return path, None
    name = path[end + 1 :]
    if not re.fullmatch(_NAME, name):
        raise _invalid(
            text,
            f"{name[:80]!r} is neither repository:tag nor @N; a name with colons must end in one "
            f"of {', '.join(ARCHIVE_SUFFIXES)}",
        )
    return path[:end], name


def _invalid(text: str, reason: str) -> InvalidReferenceError:
    quoted = text if len(text) <= _MAX_QUOTED else text[: _MAX_QUOTED - 3] + "..."
    return InvalidReferenceError(
        f"invalid archive reference {quoted!r}: {reason}",
        hint=_LOCAL_FORMS if is_local_archive(text) else _S3_FORMS,
    )
