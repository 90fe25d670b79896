"""Continuing a request in another invocation when the time of one is not enough.

An invocation that runs out of time invokes the function again, asynchronously, with the same event
and one more field, `Continuation`. The next one finds the copied blobs at the destination and does
not copy them again. Only the last invocation responds to CloudFormation.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from typing import TYPE_CHECKING, Any, Final

from custom_resource.sns import CONTINUATION_KEY
from ecr_image_replicator.errors import ContentError, OutOfTimeError
from ecr_image_replicator.model.digests import Digest
from ecr_image_replicator.model.manifests import Descriptor
from ecr_image_replicator.model.references import ImageReference

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ecr_image_replicator.copy.progress import ProgressSnapshot
    from ecr_image_replicator.request.parsing import ReplicationRequest

_LOGGER: Final = logging.getLogger(__name__)
#: Lambda stops a function that invokes itself after about 16 invocations.
MAX_INVOCATIONS: Final = 12
#: The maximum and the default of ServiceTimeout.
MAX_SERVICE_TIMEOUT_SECONDS: Final = 3600.0
_KEYS: Final = frozenset({"Invocation", "StartedAt", "Digest", "Streams", "ETag", "Layers"})
_MAX_ETAG_CHARACTERS: Final = 200
#: More than an image has, and less than half of the size that Lambda allows for an event.
_MAX_LAYERS: Final = 400


@dataclasses.dataclass(frozen=True, slots=True)
class Continuation:
    """The state that one invocation of a request hands to the next.

    Attributes
    ----------
    started_at_seconds
        When the first invocation started, in seconds since the epoch.
    service_timeout_seconds
        How long CloudFormation waits for the response, from about that moment.
    invocation
        This invocation's number, from 1.
    digest
        The digest that the first invocation found at the source; None in the first invocation.
    streams
        The maximum of blobs copied at the same time; None for the function's setting.
    etag
        The ETag of the source's archive; "" for a registry's image.
    layers
        The blobs that were made from the archive's layers so far, by their diff_ids.
    """

    started_at_seconds: float
    service_timeout_seconds: float = MAX_SERVICE_TIMEOUT_SECONDS
    invocation: int = 1
    digest: Digest | None = None
    streams: int | None = None
    etag: str = ""
    layers: Mapping[Digest, Descriptor] = dataclasses.field(default_factory=dict, hash=False)

    @classmethod
    def of(cls, event: Mapping[str, Any], *, now: float) -> Continuation:
        """Read an event's continuation.

        One that cannot be read, because other code wrote it, starts again. That is safe: copied
        blobs are found. Its StartedAt is kept if it is readable, so that CloudFormation's time
        is not exceeded.
        """
        timeout_seconds = service_timeout_seconds(event.get("ResourceProperties"))
        fields = event.get(CONTINUATION_KEY)
        if fields is None:
            return cls(now, timeout_seconds)
        continuation = _parse(fields, timeout_seconds, now)
        if continuation is not None:
            return continuation
        _LOGGER.warning("invalid %s in the event: starting again", CONTINUATION_KEY)
        started_at = _number(fields.get("StartedAt")) if isinstance(fields, dict) else None
        # a clock that is ahead of this one must not give more time than there is
        return cls(now if started_at is None else min(started_at, now), timeout_seconds)

    def time_left_seconds(self, now: float) -> float:
        """Return the seconds until CloudFormation stops waiting, at least 0."""
        return max(0.0, self.started_at_seconds + self.service_timeout_seconds - now)

    def pinned(self, request: ReplicationRequest) -> ReplicationRequest:
        """Pin the request to the content that the first invocation found."""
        if self.digest is None:
            return request
        source = request.source
        if isinstance(source, ImageReference):
            source = source._replace(digest=self.digest)
        else:
            source = source._replace(etag=self.etag)
        return dataclasses.replace(
            request, source=source, most_streams=self.streams, made_layers=self.layers
        )

    def next_run(
        self, snapshot: ProgressSnapshot, *, streams: int, span_seconds: float, left_seconds: float
    ) -> Continuation:
        """Return the continuation for the next invocation.

        Parameters
        ----------
        snapshot
            How far this invocation has come.
        streams
            The number of blobs that it copied at the same time.
        span_seconds
            How long an invocation may work.
        left_seconds
            How long the next invocation may work before CloudFormation stops waiting.

        Raises
        ------
        OutOfTimeError
            Another invocation would not help; the message says why.
        """
        if snapshot.pinned is None:
            raise OutOfTimeError("timed out before the source's digest was known")
        if self.invocation >= MAX_INVOCATIONS:
            raise OutOfTimeError(
                f"timed out after {MAX_INVOCATIONS} invocations, the maximum",
                hint="Increase Timeout or MemorySize of the function.",
            )
        span_seconds = min(span_seconds, left_seconds)
        if span_seconds < 1:
            raise OutOfTimeError(
                f"timed out: CloudFormation waits {self.service_timeout_seconds:g} s for a "
                "response",
                hint="Increase the resource's ServiceTimeout (3600 at most) or the function's "
                "MemorySize.",
            )
        _check_largest(snapshot, span_seconds, is_alone=streams == 1)
        # blobs that share the network may all be cut off each time, where one alone would fit
        makes_progress = snapshot.copied and snapshot.lost_bytes <= snapshot.copied_bytes
        next_streams = streams if makes_progress else max(1, streams // 2)
        return dataclasses.replace(
            self,
            invocation=self.invocation + 1,
            digest=snapshot.pinned,
            streams=next_streams,
            etag=snapshot.etag,
            layers=dict([*self.layers.items(), *snapshot.made.items()][-_MAX_LAYERS:]),
        )

    def fields(self) -> dict[str, Any]:
        """Return the value of the event's field."""
        return {
            "Invocation": self.invocation,
            "StartedAt": self.started_at_seconds,
            "Digest": str(self.digest),
            "Streams": self.streams,
            "ETag": self.etag,
            "Layers": {
                str(diff_id): [blob.media_type, str(blob.digest), blob.size_bytes]
                for diff_id, blob in self.layers.items()
            },
        }


def _check_largest(snapshot: ProgressSnapshot, span_seconds: float, *, is_alone: bool) -> None:
    """Check that the largest blob left fits in an invocation of its own."""
    largest, rate = snapshot.largest_left, snapshot.bytes_per_second
    if largest is None:
        return
    fits = rate > 0 and largest.size_bytes <= rate * span_seconds
    if not fits or (is_alone and not snapshot.copied):
        raise OutOfTimeError(
            f"timed out: blob {largest.digest} of {largest.size_bytes} bytes does not fit in one "
            f"invocation: at the measured {rate:.0f} bytes/s, {rate * span_seconds:.0f} bytes can "
            f"be copied in {span_seconds:.0f} s",
            hint="Increase Timeout or MemorySize of the function: more memory brings a faster "
            "network.",
        )


def service_timeout_seconds(properties: object) -> float:
    """Return how long CloudFormation waits for a response; 3,600 if that is not a valid number."""
    value = properties.get("ServiceTimeout") if isinstance(properties, dict) else None
    seconds = _number(value)
    if seconds is None or not 1 <= seconds <= MAX_SERVICE_TIMEOUT_SECONDS:
        return MAX_SERVICE_TIMEOUT_SECONDS
    return seconds


def _parse(fields: object, timeout_seconds: float, now: float) -> Continuation | None:
    if not isinstance(fields, dict) or fields.keys() != _KEYS:
        return None
    invocation, streams = fields["Invocation"], fields["Streams"]
    started_at = _number(fields["StartedAt"])
    if type(invocation) is not int or not 1 < invocation <= MAX_INVOCATIONS:
        return None
    if type(streams) is not int or streams < 1 or started_at is None:
        return None
    etag = fields["ETag"]
    if not isinstance(etag, str) or len(etag) > _MAX_ETAG_CHARACTERS or not etag.isprintable():
        return None
    try:
        digest, layers = Digest.parse(fields["Digest"]), _parse_layers(fields["Layers"])
    except (ContentError, TypeError, ValueError, AttributeError):
        return None
    started_at = min(started_at, now)
    return Continuation(started_at, timeout_seconds, invocation, digest, streams, etag, layers)


def _parse_layers(fields: Any) -> dict[Digest, Descriptor]:
    """Read blobs by diff_ids; any other form raises one error or another."""
    layers: dict[Digest, Descriptor] = {}
    for diff_id, (media_type, digest, size_bytes) in fields.items():
        if type(media_type) is not str or type(size_bytes) is not int or size_bytes < 0:
            raise TypeError
        layers[Digest.parse(diff_id)] = Descriptor(media_type, Digest.parse(digest), size_bytes)
    return layers


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
