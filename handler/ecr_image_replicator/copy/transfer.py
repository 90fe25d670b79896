"""The transfer of a plan over a bounded number of streams; the first failure stops the rest.

Memory is ``streams * buffer_bytes``; no blob is kept in memory, whatever its size. A stream is held
while a body flows and not while a response is awaited, so that the next upload is open when a body
ends.
"""

from __future__ import annotations

import functools
import itertools
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from ecr_image_replicator.copy.concurrency import ConcurrencyLimiter
from ecr_image_replicator.copy.missing_content import (
    absent_foreign_layer,
    changed_layer,
    missing_blobs,
    missing_children,
)
from ecr_image_replicator.copy.parallel import do_each
from ecr_image_replicator.copy.ports import BlobOutcome
from ecr_image_replicator.copy.results import BlobResult, merge_results, results_of
from ecr_image_replicator.errors import (
    InvalidArchiveError,
    MissingContentError,
    NotFoundError,
    Side,
    TransientError,
)
from ecr_image_replicator.model.digests import VerifiedStream
from ecr_image_replicator.model.manifests import ImageManifest
from ecr_image_replicator.propagation import PendingPermissionError
from ecr_image_replicator.request.settings import DEFAULT_STREAMS
from ecr_image_replicator.retries import retries_exhausted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from ecr_image_replicator.copy.plan import ReplicationPlan
    from ecr_image_replicator.copy.ports import (
        ImageSource,
        ImageWriter,
        Progress,
        ReadOnlyDestination,
        StreamedLayer,
        Upload,
    )
    from ecr_image_replicator.deadline import Deadline
    from ecr_image_replicator.model.digests import ByteReader, Digest
    from ecr_image_replicator.model.manifests import Descriptor, Manifest
    from ecr_image_replicator.retries import Backoff

_LOGGER: Final = logging.getLogger(__name__)
_Result = TypeVar("_Result")
_Item = TypeVar("_Item")
_Layer = TypeVar("_Layer", bound="StreamedLayer")
#: One thread sends a body while another waits for responses.
_THREADS_A_STREAM: Final = 2
#: See docs/decisions/0017-move-bytes-in-blocks-of-512-kib.md.
DEFAULT_BUFFER_BYTES: Final = 512 * 1024


class Transfer:
    """Copies one image, or one referrer.

    Parameters
    ----------
    source, destination
        Read by several threads at once.
    writer
        Writes to the destination, from several threads at once.
    deadline
        Checked before each request and buffer; stopped when something fails.
    backoff
        The retries of interrupted blobs.
    progress
        Receives the progress.
    streams
        The largest number of parallel bodies; as many threads wait for responses beside them.
    buffer_bytes
        The buffer of each stream.
    """

    def __init__(
        self,
        source: ImageSource,
        destination: ReadOnlyDestination,
        writer: ImageWriter,
        *,
        deadline: Deadline,
        backoff: Backoff,
        progress: Progress,
        streams: int = DEFAULT_STREAMS,
        buffer_bytes: int = DEFAULT_BUFFER_BYTES,
    ) -> None:
        self._source = source
        self._destination = destination
        self._writer = writer
        self._deadline = deadline
        self._backoff = backoff
        self._progress = progress
        self._threads = _THREADS_A_STREAM * streams
        self._limiter = ConcurrencyLimiter(streams, buffer_bytes, failures=lambda: backoff.failures)
        #: Blobs that `push_streamed` sent and `run` has not reported yet.
        self._streamed: list[Descriptor] = []
        self._find_layer: Callable[[Digest], StreamedLayer | None] = lambda _: None

    def stop(self) -> None:
        """Stop the transfer after a failure elsewhere."""
        self._deadline.stop()

    def find_present(self, blobs: Iterable[Descriptor]) -> frozenset[Digest]:
        """Return which of these blobs the destination has."""
        asked = list(blobs)
        there = set(self._destination.find_blobs(asked) if asked else ())

        def ask(blob: Descriptor) -> None:
            if self._destination.has_blob(blob.digest):
                there.add(blob.digest)

        with self._pool() as pool:
            unknown = [blob for blob in asked if blob.digest not in there]
            do_each(pool, ask, unknown, stop=self._deadline.stop)
        return frozenset(there)

    def read_present(
        self,
        blobs: Iterable[tuple[Descriptor, _Item]],
        read: Callable[[_Item, AbstractContextManager[ByteReader], memoryview], _Result],
    ) -> list[_Result]:
        """Read blobs back from the destination; `read` gets each one's context manager."""

        def read_one(item: tuple[Descriptor, _Item]) -> _Result:
            blob, about = item

            def once() -> _Result:
                with self._enter_slot(blob) as buffer:
                    return read(about, self._destination.open_blob(blob), buffer)

            return self._run_with_restarts(blob, once)[0]

        with self._pool() as pool:
            return do_each(pool, read_one, blobs, stop=self._deadline.stop)

    def push_streamed(
        self,
        layers: Iterable[_Layer],
        on_pushed: Callable[[_Layer, Descriptor], None],
        *,
        sequential: bool,
    ) -> None:
        """Push layers whose blobs are made while they are sent.

        Parameters
        ----------
        on_pushed
            Called with each layer and its blob, after the blob is pushed.
        sequential
            Take each layer from the iterable only after the one before it was pushed.

        Raises
        ------
        ReplicationError
            As `run` does.
        """

        def send(layer: _Layer) -> None:
            self._progress.plan((layer.stored,))
            blob, _ = self._run_with_restarts(layer.stored, lambda: self._push_streamed_once(layer))
            self._streamed.append(blob)
            self._progress.make(layer.stored, blob)
            self._progress.finish(layer.stored, BlobOutcome.COPIED)
            on_pushed(layer, blob)

        with self._pool() as pool:
            do_each(pool, send, layers, stop=self._deadline.stop, sequential=sequential)

    def set_layer_lookup(self, find_layer: Callable[[Digest], StreamedLayer | None]) -> None:
        """Set the lookup from a blob's digest to the archive layer that it can be rebuilt from.

        Parameters
        ----------
        find_layer
            Returns the layer that the blob of a digest is made of; None for a blob that the source
            has.
        """
        self._find_layer = find_layer

    def run(
        self, plan: ReplicationPlan, *, sequential_order: Iterable[Descriptor] | None = None
    ) -> dict[Digest, BlobResult]:
        """Carry out the plan, the tags last, and return what became of each blob.

        Parameters
        ----------
        sequential_order
            The plan's blobs in the order of a sequential source, copied one after the other; None
            for parallel copies.

        Raises
        ------
        ReplicationError
            The first failure. Open uploads are cancelled; no tag points at incomplete content.
        """
        self._progress.plan((*plan.blobs, *plan.present))
        for blob in plan.present:
            self._progress.finish(blob, BlobOutcome.SKIPPED)
        there = self._destination.find_blobs(plan.blobs) if plan.blobs else frozenset()
        # a layer that was streamed before is present now, and was copied all the same
        streamed, self._streamed = self._streamed, []
        results = merge_results(
            results_of(plan.present, BlobOutcome.SKIPPED),
            results_of(streamed, BlobOutcome.COPIED),
        )
        stop = self._deadline.stop
        if sequential_order is None:
            missing = sum(blob.digest not in there for blob in plan.blobs)
            self._source.expect_blobs(min(missing, self._limiter.limit))

        def copy(blob: Descriptor) -> None:
            found = BlobOutcome.SKIPPED if blob.digest in there else None
            outcome = found or self._copy_blob(
                blob, lambda: self._writer.start_upload(blob, mount_from=plan.mount_from)
            )
            results[blob.digest] = BlobResult(outcome, blob.size_bytes)
            self._progress.finish(blob, outcome)

        below = {child.digest: child for level in plan.levels for child in level}

        def push_by_digest(child: Manifest) -> None:
            results.update(self._push_manifest(child, str(child.digest), below))

        def push_reference(tagged: tuple[str, Manifest]) -> None:
            reference, manifest = tagged
            results.update(self._push_manifest(manifest, reference, below))

        with self._pool() as pool:
            sequential = sequential_order is not None
            blobs = plan.blobs if sequential_order is None else sequential_order
            do_each(pool, copy, blobs, stop=stop, sequential=sequential)
            for level in plan.levels:
                do_each(pool, push_by_digest, level, stop=stop)
            # the first pushes the root; if it is rejected, no other tag is put
            do_each(pool, push_reference, plan.final_pushes[:1], stop=stop)
            do_each(pool, push_reference, plan.final_pushes[1:], stop=stop)
        return results

    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._threads, thread_name_prefix="stream")

    def _copy_blob(
        self, blob: Descriptor, open_upload: Callable[[], Upload | BlobOutcome]
    ) -> BlobOutcome:
        """Copy one blob."""
        outcome, failures = self._run_with_restarts(
            blob, lambda: self._copy_blob_once(blob, open_upload)
        )
        # it exists after an interruption: only the response to its last byte was lost
        found_late = outcome is BlobOutcome.SKIPPED and failures
        return BlobOutcome.COPIED if found_late else outcome

    def _run_with_restarts(
        self, blob: Descriptor, once: Callable[[], _Result]
    ) -> tuple[_Result, Sequence[TransientError]]:
        """Copy a blob, from its start again after interruptions; return the failures too."""
        failures: list[TransientError] = []
        for restarts in itertools.count():
            self._deadline.check(f"copy blob {blob.digest}")
            try:
                return once(), failures
            except PendingPermissionError as error:
                propagation = self._backoff.propagation
                denials = restarts - len(failures) + 1
                if propagation is None or not propagation.wait_after(denials, str(error)):
                    raise error.denial from error
            except TransientError as error:
                failures.append(error)
                if not self._backoff.wait_after(len(failures), error):
                    # a source's failures are counted where it is read
                    raise retries_exhausted(error, Side.DESTINATION, len(failures)) from error
                _LOGGER.info("restarting a blob: %s", error)
        raise AssertionError  # itertools.count has no end

    def _copy_blob_once(
        self, blob: Descriptor, open_upload: Callable[[], Upload | BlobOutcome]
    ) -> BlobOutcome:
        opened = open_upload()
        if isinstance(opened, BlobOutcome):
            return opened
        # the slot and the source's connection are released with the last byte
        with _cancelled_on_failure(opened), ExitStack() as held:
            buffer = held.enter_context(self._enter_slot(blob))
            reader = held.enter_context(self._source.open_blob(blob))
            # hashed while the HTTP client reads it
            opened.finish(
                VerifiedStream(
                    reader,
                    blob.digest,
                    blob.size_bytes,
                    buffer=buffer,
                    on_bytes=self._start(blob),
                    on_end=held.close,
                )
            )
        return BlobOutcome.COPIED

    def _push_streamed_once(self, layer: StreamedLayer) -> Descriptor:
        upload = self._writer.start_streamed_upload()
        with _cancelled_on_failure(upload):
            with (
                self._enter_slot(layer.stored) as buffer,
                layer.open_blob(buffer=buffer, on_bytes=self._start(layer.stored)) as blob_stream,
            ):
                upload.append(blob_stream)
                blob = blob_stream.descriptor()
            upload.close_as(blob.digest)
        return blob

    def _enter_slot(self, blob: Descriptor) -> AbstractContextManager[memoryview]:
        return self._limiter.enter(self._deadline, f"copy blob {blob.digest}")

    def _start(self, blob: Descriptor) -> Callable[[int], None]:
        """Start counting a blob's bytes; return the function to call with each buffer's size."""
        progress, deadline = self._progress, self._deadline
        step = f"copy blob {blob.digest} ({blob.size_bytes} bytes)"

        def advance(count_bytes: int) -> None:
            progress.advance(blob, count_bytes)
            deadline.check(step)

        progress.start(blob)
        return advance

    def _push_manifest(
        self, manifest: Manifest, reference: str, below: Mapping[Digest, Manifest]
    ) -> dict[Digest, BlobResult]:
        """Push a manifest, and once more after content that is missing; return the blobs sent."""
        self._deadline.check(f"push manifest {manifest.digest}")
        try:
            self._writer.push_manifest(manifest, reference)
        except MissingContentError as error:
            _LOGGER.warning("pushing missing content again: %s", error)
            restored = self._restore(manifest, error, below)
            self._writer.push_manifest(manifest, reference)
            return restored
        return {}

    def _restore(
        self, manifest: Manifest, error: MissingContentError, below: Mapping[Digest, Manifest]
    ) -> dict[Digest, BlobResult]:
        """Push the content of a manifest again: what is named as missing, or else all of it."""
        results: dict[Digest, BlobResult] = {}
        if isinstance(manifest, ImageManifest):
            for blob in missing_blobs(manifest, error):
                layer = self._find_layer(blob.digest)
                planned = layer.stored if layer else blob
                self._progress.plan((planned,))
                made = layer and self._rebuild_layer(blob, layer, error)
                outcome = made or self._copy_blob_again(blob, error)
                results[blob.digest] = BlobResult(outcome, blob.size_bytes)
                self._progress.finish(planned, outcome)
        else:
            for digest in missing_children(manifest, error):
                child = below.get(digest) or self._source.fetch_manifest(digest)
                results.update(self._push_manifest(child, str(digest), below))
        return results

    def _copy_blob_again(self, blob: Descriptor, error: MissingContentError) -> BlobOutcome:
        """Copy a blob again, or a foreign layer that the destination requires."""
        try:
            return self._copy_blob(blob, functools.partial(self._writer.open_upload, blob))
        except (NotFoundError, InvalidArchiveError) as absent:
            if blob.is_distributable:
                raise
            raise absent_foreign_layer(blob, error) from absent

    def _rebuild_layer(
        self, blob: Descriptor, layer: StreamedLayer, error: MissingContentError
    ) -> BlobOutcome:
        """Rebuild a layer's blob and push it."""
        made, _ = self._run_with_restarts(layer.stored, lambda: self._push_streamed_once(layer))
        if made.digest != blob.digest:
            raise changed_layer(blob, made, error) from error
        return BlobOutcome.COPIED


@contextmanager
def _cancelled_on_failure(upload: Upload) -> Iterator[None]:
    try:
        yield
    except BaseException:
        upload.cancel()
        raise
