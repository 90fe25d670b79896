"""The ports of the engine: protocols that registries, archives and AWS implement."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from ecr_image_replicator.errors import TransientError
    from ecr_image_replicator.model.digests import ByteReader, Digest, VerifiedStream
    from ecr_image_replicator.model.manifests import Descriptor, Manifest


class RangedReader(Protocol):
    """An object that can be read in ranges, and does not change while it is read.

    Implemented by `aws.s3.S3Object`, `archive.local_file.LocalFile`, and within archives by
    `archive.object_start.StartedObject` and `archive.forward_reader.ForwardReader`.
    """

    @property
    def size_bytes(self) -> int | None:
        """The size; None until it is known, at the latest at the end of the object."""

    @property
    def is_sequential(self) -> bool:
        """Whether reading an earlier range means reading the object from its start."""

    def read_range(self, offset: int, length: int) -> bytes:
        """Read a range; return fewer bytes at the end of the object.

        Raises
        ------
        ReplicationError
            The object cannot be read, or has changed.
        """

    def open_range(self, offset: int, length: int) -> AbstractContextManager[ByteReader]:
        """Open a range; the stream may end early."""


class BlobOutcome(Enum):
    """The outcome of copying a blob."""

    COPIED = "copied"
    MOUNTED = "mounted"
    SKIPPED = "skipped"


class Upload(Protocol):
    """An open upload session at the destination.

    Implemented by `registry.uploads.RegistryUpload`.
    """

    def finish(self, body: VerifiedStream) -> None:
        """Send the whole blob and close the session.

        Raises
        ------
        TransientError
            The connection broke; a new session may work.
        ReplicationError
            The destination rejected the blob, or the body is not verified.
        """

    def append(self, body: Iterable[bytes | memoryview]) -> None:
        """Send bytes whose number and digest are known only at their end.

        Raises
        ------
        TransientError, ReplicationError
            As `finish` does.
        """

    def close_as(self, digest: Digest) -> None:
        """Close the session after `append`, with the digest of the appended bytes."""

    def cancel(self) -> None:
        """Cancel the session; never raises."""


class StreamedBlob(Protocol):
    """A blob that is made while it is sent.

    Implemented by `_CompressedLayer` and `_VerbatimLayer` of `archive.layers`.
    """

    def __iter__(self) -> Iterator[bytes | memoryview]:
        """Yield its bytes, once; the last ones after its source is verified."""

    def descriptor(self) -> Descriptor:
        """Return the descriptor, after the last byte."""


class StreamedLayer(Protocol):
    """A stored layer whose blob has no digest until it is made.

    Implemented by `archive.layers.ArchivedLayer`.
    """

    @property
    def stored(self) -> Descriptor:
        """The stored layer, by its diff_id and stored size."""

    def open_blob(
        self, *, buffer: memoryview, on_bytes: Callable[[int], None]
    ) -> AbstractContextManager[StreamedBlob]:
        """Start making the blob.

        Parameters
        ----------
        buffer
            Memory for reading.
        on_bytes
            Called with the number of stored bytes that were read.
        """


class ImageSource(Protocol):
    """The source of an image.

    Implemented by `registry.source.RegistrySource`, `ecr.source.EcrSource`,
    `archive.source.ArchiveSource`, and `copy.cache.CachingSource`, which wraps one of them.
    """

    def find_digest(self) -> Digest | None:
        """Return the image's digest without reading it; None where only reading tells it.

        Raises
        ------
        ReplicationError
            The image does not exist, or cannot be read.
        """

    def fetch_manifest(self, digest: Digest | None = None) -> Manifest:
        """Read and verify a manifest by its digest; without one, the image's own manifest."""

    def expect_blobs(self, count: int) -> None:
        """Prepare in the background to read so many blobs at once."""

    def open_blob(self, descriptor: Descriptor) -> AbstractContextManager[ByteReader]:
        """Open a blob from its first byte."""


class ReadOnlyDestination(Protocol):
    """Reads the destination repository, and changes nothing there.

    Implemented by `registry.destination.RegistryDestination` and `ecr.destination.EcrDestination`.
    """

    @property
    def needs_existence_check(self) -> bool:
        """Whether a blob that `find_blobs` did not return may exist nevertheless."""

    def repository_missing(self) -> bool:
        """Return whether a push would create the repository; for dry runs.

        Raises
        ------
        RegistryError
            The repository does not exist and would not be created.
        """

    def find_manifest(self, tag: str) -> Manifest | None:
        """Read the manifest of a tag; None if the tag does not exist."""

    def find_digest(self, tag: str) -> Digest | None:
        """Return the digest of a tag without reading it; None if the tag does not exist."""

    def check_tags(self, tags: Mapping[str, Digest | None], content: Digest) -> None:
        """Check whether tags can be put, before anything is copied.

        Parameters
        ----------
        tags
            The tags to put, with the digest that each points at now.
        content
            The digest that they will point at.

        Raises
        ------
        RegistryError
            A tag is immutable.
        """

    def find_blobs(self, descriptors: Sequence[Descriptor]) -> frozenset[Digest]:
        """Return the blobs that are known to exist; `start_upload` checks the others."""

    def has_blob(self, digest: Digest) -> bool:
        """Return whether a blob exists."""

    def open_blob(self, descriptor: Descriptor) -> AbstractContextManager[ByteReader]:
        """Open a blob that exists."""


class ImageWriter(Protocol):
    """Writes blobs and manifests to the destination repository.

    Implemented by `registry.destination.RegistryDestination`, `ecr.destination.EcrDestination`, and
    `copy.dry_run.DryRunWriter`, which records the changes instead.
    """

    def start_upload(
        self, descriptor: Descriptor, *, mount_from: str | None
    ) -> Upload | BlobOutcome:
        """Open an upload session for a blob, or return the outcome without one.

        Parameters
        ----------
        descriptor
            The blob.
        mount_from
            A repository of the same registry that holds the blob.
        """

    def open_upload(self, descriptor: Descriptor) -> Upload | BlobOutcome:
        """Open an upload session although the blob was reported to exist: a manifest needs it."""

    def start_streamed_upload(self) -> Upload:
        """Open an upload session for a blob with an unknown digest."""

    def push_manifest(self, manifest: Manifest, reference: str) -> None:
        """Push the manifest's bytes under a tag or its digest.

        Raises
        ------
        MissingContentError
            The destination reports that content of the manifest is missing.
        """


class TagRemover(Protocol):
    """Removes tags from a repository.

    Implemented by `registry.destination.RegistryDestination` and `ecr.destination.EcrDestination`.
    """

    def remove_tags(self, tags: Sequence[str], content: Digest) -> None:
        """Remove the tags that still point at the content; a missing tag is a success.

        Raises
        ------
        ReplicationError
            A tag that points at the content cannot be removed.
        """


class ReferrersList(NamedTuple):
    """The referrers of a manifest, as its repository lists them.

    Attributes
    ----------
    descriptors
        The referrers' descriptors.
    is_kept_by_registry
        Whether the registry maintains the list (the referrers API). If not, the client that pushes
        a referrer adds it to the subject's fallback tag.
    """

    descriptors: tuple[Descriptor, ...]
    is_kept_by_registry: bool


class ReferrerStore(Protocol):
    """The referrers of a repository: signatures, SBOMs and attestations.

    Implemented by `registry.referrers.RegistryReferrers`, and `copy.dry_run.DryRunReferrers`, which
    changes nothing.
    """

    def list_referrers(self, subject: Digest, artifact_type: str = "") -> ReferrersList:
        """List the manifests whose subject is that digest.

        Parameters
        ----------
        subject
            A digest, which may be unknown to the repository.
        artifact_type
            Only referrers of that type, and those of unknown type; "" for all.
        """

    def find_tagged(self, tag: str) -> Manifest | None:
        """Read the manifest of a tag; None if the tag does not exist."""

    def add_to_fallback_tag(self, subject: Digest, referrers: Sequence[Descriptor]) -> bool:
        """Add referrers to the index under their subject's fallback tag.

        Returns
        -------
        bool
            Whether anything was pushed.

        Raises
        ------
        ReplicationError
            The push was rejected, or others kept overwriting the tag.
        """


class Progress(Protocol):
    """Receives the progress of a copy, from several threads at once.

    Implemented by `copy.progress.LoggedProgress` (Lambda), `mirror.recorder.ProgressRecorder`, and
    `NullDisplay` and its subclasses in `cli` (`PlainLines`, `ProgressBars`).
    """

    def pin(self, digest: Digest, etag: str = "") -> None:
        """Receive the digest of the source's reference, to which the copy is pinned.

        Parameters
        ----------
        etag
            The ETag of the source's S3 object; "" for other sources.
        """

    def plan(self, blobs: Iterable[Descriptor]) -> None:
        """Receive the blobs of a transfer."""

    def start(self, blob: Descriptor) -> None:
        """Count from the first byte of a blob: its copy starts, or restarts."""

    def advance(self, blob: Descriptor, count_bytes: int) -> None:
        """Count bytes of a blob."""

    def finish(self, blob: Descriptor, outcome: BlobOutcome) -> None:
        """Count a blob as done: it is at the destination."""

    def make(self, stored: Descriptor, blob: Descriptor) -> None:
        """Receive the blob that was made of a stored layer."""

    def retry(self, error: TransientError) -> None:
        """Receive the failure that a retry follows."""

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Measure a stage of the replication."""

    def summary(self) -> str:
        """Describe the progress: ``3 of 7 blobs copied (1.2 of 4.0 GiB)``; "" for nothing."""
