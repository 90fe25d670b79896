"""What the engine needs of the world: protocols, implemented by registries, archives and AWS."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from ecr_image_replicator.errors import TransientError
    from ecr_image_replicator.model.digests import ByteReader, Digest, VerifiedStream
    from ecr_image_replicator.model.manifests import Descriptor, Manifest


class RangedReader(Protocol):
    """One object that can be read in parts, and does not change while it is."""

    @property
    def size_bytes(self) -> int | None:
        """How long the object is, once that is known: at the latest when its end was met."""

    @property
    def is_sequential(self) -> bool:
        """True when going back means reading everything before once more."""

    def read_range(self, offset: int, length: int) -> bytes:
        """Read so many bytes from an offset on, fewer at the object's end.

        Raises
        ------
        ReplicationError
            The object cannot be read, or is not the one any more that it was.
        """

    def open_range(self, offset: int, length: int) -> AbstractContextManager[ByteReader]:
        """Start reading so many bytes from an offset on; they may end early."""


class BlobOutcome(Enum):
    """How a blob came to be at the destination."""

    COPIED = "copied"
    MOUNTED = "mounted"
    SKIPPED = "skipped"


class Upload(Protocol):
    """An upload session that is open at the destination."""

    def finish(self, body: VerifiedStream) -> None:
        """Send the whole blob and close the session.

        Raises
        ------
        TransientError
            It broke off; the session is of no more use, a new one may work.
        ReplicationError
            The destination refused, or the body failed its verification.
        """

    def append(self, body: Iterable[bytes | memoryview]) -> None:
        """Send bytes whose number and digest only their end tells; the session stays open.

        Raises
        ------
        TransientError, ReplicationError
            As `finish` does.
        """

    def close_as(self, digest: Digest) -> None:
        """Close the session over what was appended, which has that digest."""

    def cancel(self) -> None:
        """Let go of the session; never raises."""


class StreamedBlob(Protocol):
    """A blob that comes into being while it is sent."""

    def __iter__(self) -> Iterator[bytes | memoryview]:
        """Yield its bytes, the last only when what it is made of was verified; once."""

    def descriptor(self) -> Descriptor:
        """Describe the blob, after its last byte."""


class StreamedLayer(Protocol):
    """A stored layer whose blob has no digest before it is made."""

    @property
    def stored(self) -> Descriptor:
        """What is stored, by its diff_id and the size that it is stored in."""

    def open_blob(
        self, *, buffer: memoryview, on_bytes: Callable[[int], None]
    ) -> AbstractContextManager[StreamedBlob]:
        """Start making the blob.

        Parameters
        ----------
        buffer
            For what is read.
        on_bytes
            Told how many stored bytes went into it, as they do.
        """


class ImageSource(Protocol):
    """The image to be copied, wherever it is."""

    def find_digest(self) -> Digest | None:
        """Give the image's digest without reading it; None where only reading tells.

        Raises
        ------
        ReplicationError
            There is no such image, or it may not be read.
        """

    def fetch_manifest(self, digest: Digest | None = None) -> Manifest:
        """Read a manifest by its digest, verified; without one, the image's own."""

    def expect_blobs(self, count: int) -> None:
        """Get ready, beside what goes on, to have so many blobs read at once."""

    def open_blob(self, descriptor: Descriptor) -> AbstractContextManager[ByteReader]:
        """Start reading a blob from its first byte."""


class ReadOnlyDestination(Protocol):
    """What the repository that the image goes to can be asked, which changes nothing there."""

    @property
    def needs_existence_check(self) -> bool:
        """Whether a blob that `find_blobs` did not name may be there all the same."""

    def repository_missing(self) -> bool:
        """Tell whether a push would have to make the repository first; asked by dry runs.

        Raises
        ------
        RegistryError
            It is missing and is not to be made.
        """

    def find_manifest(self, tag: str) -> Manifest | None:
        """Read what the tag points at, None when there is no such tag."""

    def find_digest(self, tag: str) -> Digest | None:
        """Give what the tag points at without reading it, None when there is no such tag."""

    def check_tags(self, tags: Mapping[str, Digest | None], content: Digest) -> None:
        """Refuse what is known to be refused at the end, before anything is moved.

        Parameters
        ----------
        tags
            That are to be put, with what each points at now.
        content
            What they are to point at.

        Raises
        ------
        RegistryError
            A tag may not be moved.
        """

    def find_blobs(self, descriptors: Sequence[Descriptor]) -> frozenset[Digest]:
        """Give the blobs that are known to be there; the others `start_upload` finds out about."""

    def has_blob(self, digest: Digest) -> bool:
        """Ask for one blob; the answer is certain."""

    def open_blob(self, descriptor: Descriptor) -> AbstractContextManager[ByteReader]:
        """Start reading a blob that is there."""


class ImageDestination(ReadOnlyDestination, Protocol):
    """The repository that the image goes to."""

    def start_upload(
        self, descriptor: Descriptor, *, mount_from: str | None
    ) -> Upload | BlobOutcome:
        """Open an upload session for a blob, or say how it came to be there without one.

        Parameters
        ----------
        descriptor
            The blob.
        mount_from
            A repository of the same registry that holds the blob.
        """

    def open_upload(self, descriptor: Descriptor) -> Upload | BlobOutcome:
        """Open an upload session without asking: the blob was said to be there and denied since."""

    def start_streamed_upload(self) -> Upload:
        """Open an upload session for a blob whose digest is not known yet."""

    def push_manifest(self, manifest: Manifest, reference: str) -> None:
        """Put the manifest's own bytes under a tag or its digest.

        Raises
        ------
        MissingContentError
            What the manifest refers to is not there, the destination says.
        """


class TagRemover(Protocol):
    """A repository that tags can be removed from."""

    def remove_tags(self, tags: Sequence[str], content: Digest) -> None:
        """Remove the tags that still point at the content; what is gone already is as well.

        Raises
        ------
        ReplicationError
            A tag that points at the content cannot be removed.
        """


@dataclass(frozen=True, slots=True)
class ReferrersList:
    """What refers to a manifest, as its repository lists it.

    Attributes
    ----------
    descriptors
        Of the referrers.
    is_kept_by_registry
        Whether the repository finds them by itself (the referrers API). If not, whoever pushes
        a referrer adds it to the subject's fallback tag.
    """

    descriptors: tuple[Descriptor, ...]
    is_kept_by_registry: bool


class ReferrerStore(Protocol):
    """A repository as the place where signatures, SBOMs and attestations are found."""

    def list_referrers(self, subject: Digest, artifact_type: str = "") -> ReferrersList:
        """List the manifests whose subject is that digest.

        Parameters
        ----------
        subject
            May be unknown to the repository.
        artifact_type
            Only those, and those of which it is not known; "" for all.
        """

    def find_tagged(self, tag: str) -> Manifest | None:
        """Read what a tag points at, None when there is no such tag."""

    def add_to_fallback_tag(self, subject: Digest, referrers: Sequence[Descriptor]) -> bool:
        """Have referrers listed under their subject's fallback tag, beside those that are.

        Returns
        -------
        bool
            Whether anything had to be pushed for it.

        Raises
        ------
        ReplicationError
            The repository refused, or others kept overwriting the tag.
        """


class Progress(Protocol):
    """Told what the engine does, from several threads at once."""

    def pin(self, digest: Digest, etag: str = "") -> None:
        """Learn what the source's reference stands for, whatever is put there from now on.

        Parameters
        ----------
        etag
            Of the object that the source is in, if it is in one.
        """

    def plan(self, blobs: Iterable[Descriptor]) -> None:
        """Learn of all blobs that are going to be dealt with."""

    def start(self, blob: Descriptor) -> None:
        """Count from the blob's first byte: a stream begins, or begins again."""

    def advance(self, blob: Descriptor, count_bytes: int) -> None:
        """So many more bytes have arrived."""

    def finish(self, blob: Descriptor, outcome: BlobOutcome) -> None:
        """Count the blob as done: it is at the destination."""

    def make(self, stored: Descriptor, blob: Descriptor) -> None:
        """Learn which blob was made of a stored layer and is at the destination."""

    def retry(self, error: TransientError) -> None:
        """Learn that something is tried again, and why."""

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Measure a stage of the replication."""

    def summary(self) -> str:
        """Describe the progress: ``3 of 7 blobs copied (1.2 of 4.0 GiB)``; "" for nothing."""
