"""Work that does not fit one invocation: whether, and how, it goes on in the next.

An invocation that runs out of time invokes the function once more, asynchronously, with its own
event and one field more. What has been finished is found at the destination and is not moved
again; CloudFormation hears from the last invocation alone.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from typing import TYPE_CHECKING, Any, Final

from ecr_image_replicator.errors import ContentError, OutOfTimeError
from ecr_image_replicator.model.digests import Digest
from ecr_image_replicator.model.manifests import Descriptor
from ecr_image_replicator.model.references import ImageReference

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ecr_image_replicator.copy.progress import ProgressSnapshot
    from ecr_image_replicator.request.parsing import ReplicationRequest

_LOGGER: Final = logging.getLogger(__name__)
#: Of the event, beside CloudFormation's own.
CONTINUATION_KEY: Final = "Continuation"
#: Lambda ends chains of a function that invokes itself at about 16.
MAX_INVOCATIONS: Final = 12
#: CloudFormation's longest wait for a custom resource, and what it waits if nothing else is said.
MAX_SERVICE_TIMEOUT_SECONDS: Final = 3600.0
_KEYS: Final = frozenset({"Invocation", "StartedAt", "Digest", "Streams", "ETag", "Layers"})
_MAX_ETAG_CHARACTERS: Final = 200
#: More than an image has, and together less than the half of what Lambda takes for an event.
_MAX_LAYERS: Final = 400


@dataclasses.dataclass(frozen=True, slots=True)
class Continuation:
    """One invocation of those that a request takes.

    Attributes
    ----------
    started_at_seconds
        When the first invocation began, in seconds since the epoch.
    service_timeout_seconds
        How long CloudFormation waits for the answer, from about then on.
    invocation
        This one's number, from 1.
    digest
        What the source's reference stood for then; None in the first.
    streams
        Blobs in flight at most; None for as many as the function is set to.
    etag
        Of the archive that the source is in, as it was then; "" for a registry's image.
    layers
        The blobs that were made of the archive's layers so far, by their diff_ids.
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
        """Read which run an event asks for; a continuation that is malformed is none."""
        timeout_seconds = _service_timeout_seconds(event)
        fields = event.get(CONTINUATION_KEY)
        if fields is None:
            return cls(now, timeout_seconds)
        run = _parse(fields, timeout_seconds, now)
        if run is None:
            _LOGGER.warning("the event's %s makes no sense and is passed over", CONTINUATION_KEY)
        return run or cls(now, timeout_seconds)

    def time_left_seconds(self, now: float) -> float:
        """Give the seconds until CloudFormation gives up, 0 when it has."""
        return max(0.0, self.started_at_seconds + self.service_timeout_seconds - now)

    def pinned(self, request: ReplicationRequest) -> ReplicationRequest:
        """Ask for the content that the first invocation found, whatever has been pushed since."""
        if self.digest is None:
            return request
        source = request.source
        if isinstance(source, ImageReference):
            source = dataclasses.replace(source, digest=self.digest)
        else:
            source = dataclasses.replace(source, etag=self.etag)
        return dataclasses.replace(
            request, source=source, most_streams=self.streams, made_layers=self.layers
        )

    def next_run(
        self, snapshot: ProgressSnapshot, *, streams: int, span_seconds: float, left_seconds: float
    ) -> Continuation:
        """Give the run that goes on from here.

        Parameters
        ----------
        snapshot
            How far this one has come.
        streams
            Blobs that it had in flight.
        span_seconds
            How long an invocation may work.
        left_seconds
            How long the next one may work at most, before CloudFormation gives up.

        Raises
        ------
        OutOfTimeError
            Another invocation would not help; the sentence says why.
        """
        if snapshot.pinned is None:
            raise OutOfTimeError("it is not known what the source's tag stood for")
        if self.invocation >= MAX_INVOCATIONS:
            raise OutOfTimeError(
                f"that was the last of {MAX_INVOCATIONS} invocations; give the function a longer "
                "timeout or more memory"
            )
        span_seconds = min(span_seconds, left_seconds)
        if span_seconds < 1:
            raise OutOfTimeError(
                f"CloudFormation waits for {self.service_timeout_seconds:g} seconds and they are "
                "over; raise the resource's ServiceTimeout, 3600 at most, or give the function "
                "more memory"
            )
        _check_largest(snapshot, span_seconds, is_alone=streams == 1)
        # blobs that share the connection may all be cut off, again and again, where one would fit
        comes_on = snapshot.copied and snapshot.lost_bytes <= snapshot.copied_bytes
        fewer = streams if comes_on else max(1, streams // 2)
        return dataclasses.replace(
            self,
            invocation=self.invocation + 1,
            digest=snapshot.pinned,
            streams=fewer,
            etag=snapshot.etag,
            layers=dict([*self.layers.items(), *snapshot.made.items()][-_MAX_LAYERS:]),
        )

    def fields(self) -> dict[str, Any]:
        """Give what the event of this run carries."""
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
    """Refuse to go on if the largest blob that is left does not fit an invocation of its own."""
    largest, rate = snapshot.largest_left, snapshot.bytes_per_second
    if largest is None:
        return
    fits = rate > 0 and largest.size_bytes <= rate * span_seconds
    if not fits or (is_alone and not snapshot.copied):
        raise OutOfTimeError(
            f"the blob {largest.digest} of {largest.size_bytes} bytes does not fit one invocation: "
            f"at the measured {rate:.0f} bytes a second {rate * span_seconds:.0f} can be moved in "
            f"{span_seconds:.0f} seconds; give the function a longer timeout or more memory, which "
            "brings a faster network"
        )


def _service_timeout_seconds(event: Mapping[str, Any]) -> float:
    properties = event.get("ResourceProperties")
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
    # a clock that is ahead of ours must not give more time than there is
    started_at = min(started_at, now)
    return Continuation(started_at, timeout_seconds, invocation, digest, streams, etag, layers)


def _parse_layers(fields: Any) -> dict[Digest, Descriptor]:
    """Read blobs by diff_ids; whatever else it is raises one error or another."""
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
