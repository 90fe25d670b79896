from __future__ import annotations

import dataclasses
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.builders import digest_of
from tests.unit.custom_resource.engines import FakeContext, FakeReplicator, event_of

from custom_resource.continuation import MAX_INVOCATIONS, Continuation
from custom_resource.resource import ReplicationResource
from custom_resource.sns import CONTINUATION_KEY
from ecr_image_replicator.copy.progress import ProgressSnapshot
from ecr_image_replicator.errors import OutOfTimeError
from ecr_image_replicator.model.archive_references import ArchiveReference
from ecr_image_replicator.model.manifests import Descriptor
from ecr_image_replicator.request.parsing import parse_request

NOW = 1_700_000_000.0
PINNED = digest_of(b"image")
LAYER = Descriptor("application/x", digest_of(b"layer"), 1000)
SNAPSHOT = ProgressSnapshot(PINNED, copied=1, largest_left=LAYER, bytes_per_second=500.0)
MADE = {digest_of(b"stored"): LAYER}
SECOND = Continuation(NOW, 3600, 2, PINNED, 4, '"etag"', MADE)
FIELDS = SECOND.fields()


def next_run(
    run: Continuation = Continuation(NOW),  # noqa: B008 - frozen
    snapshot: ProgressSnapshot = SNAPSHOT,
    *,
    streams: int = 6,
    span_seconds: float = 10,
    left_seconds: float = 1000,
) -> Continuation:
    return run.next_run(
        snapshot, streams=streams, span_seconds=span_seconds, left_seconds=left_seconds
    )


def test_the_first_invocation_starts_now_with_the_default_service_timeout() -> None:
    run = Continuation.of({"ResourceProperties": {}}, now=NOW)
    assert run == Continuation(NOW, 3600)
    assert run.time_left_seconds(NOW + 3500) == 100
    assert run.time_left_seconds(NOW + 3700) == 0


@pytest.mark.parametrize(("given", "taken"), [("60", 60), (1, 1), (3600, 3600)])
def test_a_service_timeout_limits_the_time(given: object, taken: float) -> None:
    event = {"ResourceProperties": {"ServiceTimeout": given}}
    assert Continuation.of(event, now=NOW).service_timeout_seconds == taken


@pytest.mark.parametrize("given", ["0", "3601", "soon", "nan", True, None, [], 10**400])
def test_an_invalid_service_timeout_uses_the_default(given: object) -> None:
    event = {"ResourceProperties": {"ServiceTimeout": given}}
    assert Continuation.of(event, now=NOW).service_timeout_seconds == 3600


def test_a_continuation_is_parsed_from_the_event() -> None:
    assert Continuation.of({CONTINUATION_KEY: FIELDS}, now=NOW + 100) == SECOND


def test_a_start_time_in_the_future_is_replaced_by_now() -> None:
    assert (
        Continuation.of({CONTINUATION_KEY: FIELDS}, now=NOW - 100).started_at_seconds == NOW - 100
    )


@pytest.mark.parametrize(
    "fields",
    [
        "yes",
        {},
        {**FIELDS, "More": 1},
        {**FIELDS, "Invocation": 1},
        {**FIELDS, "Invocation": MAX_INVOCATIONS + 1},
        {**FIELDS, "Invocation": "2"},
        {**FIELDS, "Invocation": True},
        {**FIELDS, "Digest": None},
        {**FIELDS, "Digest": "sha256:short"},
        {**FIELDS, "Streams": 0},
        {**FIELDS, "Streams": None},
        {**FIELDS, "StartedAt": float("nan")},
        {**FIELDS, "StartedAt": {}},
        {**FIELDS, "ETag": None},
        {**FIELDS, "ETag": "x" * 300},
        {**FIELDS, "ETag": "a\r\nb"},
        {**FIELDS, "Layers": None},
        {**FIELDS, "Layers": [1]},
        {**FIELDS, "Layers": {str(PINNED): 5}},
        {**FIELDS, "Layers": {str(PINNED): ["a", "b"]}},
        {**FIELDS, "Layers": {str(PINNED): ["a", str(PINNED), "5"]}},
        {**FIELDS, "Layers": {str(PINNED): ["a", str(PINNED), -5]}},
        {**FIELDS, "Layers": {str(PINNED): [5, str(PINNED), 5]}},
        {**FIELDS, "Layers": {"x": ["a", str(PINNED), 5]}},
    ],
)
def test_an_unreadable_continuation_restarts_the_copy(fields: object) -> None:
    read = Continuation.of({CONTINUATION_KEY: fields}, now=NOW + 100)
    assert (read.invocation, read.digest, dict(read.layers)) == (1, None, {})


@pytest.mark.parametrize(
    ("started_at", "kept"),
    [
        (NOW, NOW),
        (str(NOW), NOW),
        (NOW + 500, NOW + 100),
        (float("nan"), NOW + 100),
        ({}, NOW + 100),
        (None, NOW + 100),
    ],
)
def test_an_unreadable_continuation_preserves_a_readable_start_time(
    started_at: object, kept: float
) -> None:
    fields = {**FIELDS, "StartedAt": started_at, "WrittenByNewerCode": True}
    read = Continuation.of({CONTINUATION_KEY: fields}, now=NOW + 100)
    assert read == Continuation(kept)


def test_an_unreadable_continuation_without_a_start_starts_now() -> None:
    assert Continuation.of({CONTINUATION_KEY: "yes"}, now=NOW) == Continuation(NOW)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(sorted(FIELDS)), inner),
    )
)
def test_arbitrary_continuation_fields_are_read_without_an_error(fields: Any) -> None:
    assert 1 <= Continuation.of({CONTINUATION_KEY: fields}, now=NOW).invocation <= MAX_INVOCATIONS


def test_the_next_invocation_has_the_pinned_digest_and_its_number() -> None:
    following = next_run()
    assert following == Continuation(NOW, 3600, 2, PINNED, 6)
    request = parse_request({"SrcImage": "nginx:1", "DestImage": "quay.io/a:1"})
    pinned = following.pinned(request)
    assert str(pinned.source) == f"docker.io/library/nginx:1@{PINNED}"
    assert pinned.most_streams == 6
    assert Continuation(NOW).pinned(request) is request


def test_a_continuation_of_an_archive_has_its_etag_and_layers() -> None:
    more = {digest_of(b"more"): LAYER}
    following = next_run(SECOND, SNAPSHOT._replace(etag='"new"', made=more))
    assert (following.etag, following.layers) == ('"new"', {**MADE, **more})
    read_again = Continuation.of(
        {CONTINUATION_KEY: json.loads(json.dumps(following.fields()))}, now=NOW
    )
    assert read_again == following
    request = parse_request({"SrcImage": "s3://archives/app.tar", "DestImage": "quay.io/a:1"})
    pinned = read_again.pinned(request)
    assert isinstance(pinned.source, ArchiveReference)
    assert (pinned.source.etag, pinned.made_layers) == ('"new"', following.layers)
    assert str(pinned.source) == str(request.source)


def test_the_fields_fit_into_an_asynchronous_event() -> None:
    made = {digest_of(str(number).encode()): LAYER for number in range(5000)}
    following = next_run(snapshot=SNAPSHOT._replace(made=made))
    assert list(following.layers) == list(made)[-400:]
    assert len(json.dumps(following.fields())) < 128 * 1024


def test_streams_are_halved_when_more_bytes_were_lost_than_copied() -> None:
    only_its_config = SNAPSHOT._replace(copied_bytes=900, lost_bytes=901)
    assert next_run(snapshot=only_its_config, streams=6).streams == 3
    makes_progress = SNAPSHOT._replace(copied_bytes=900, lost_bytes=900)
    assert next_run(snapshot=makes_progress, streams=6).streams == 6


def test_streams_are_halved_when_no_blob_was_finished() -> None:
    stuck = SNAPSHOT._replace(copied=0)
    assert next_run(snapshot=stuck, streams=6).streams == 3
    assert next_run(snapshot=stuck, streams=2).streams == 1


@pytest.mark.parametrize(
    ("snapshot", "arguments", "message"),
    [
        (SNAPSHOT._replace(pinned=None), {}, "timed out before the source's digest"),
        (
            SNAPSHOT,
            {"run": dataclasses.replace(SECOND, invocation=12)},
            "timed out after 12 invocations",
        ),
        (SNAPSHOT, {"left_seconds": 0.5}, "Increase the resource's ServiceTimeout"),
        (
            SNAPSHOT._replace(bytes_per_second=50),
            {},
            rf"{LAYER.digest} of 1000 bytes does not fit in one invocation: at the measured 50 ",
        ),
        (SNAPSHOT._replace(copied=0), {"streams": 1}, "does not fit in one invocation"),
        (SNAPSHOT._replace(bytes_per_second=0), {}, "does not fit in one invocation"),
    ],
)
def test_the_error_has_the_reason_that_prevents_another_invocation(
    snapshot: ProgressSnapshot, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(OutOfTimeError, match=message):
        next_run(snapshot=snapshot, **arguments)


def test_remaining_manifests_are_continued_at_any_rate() -> None:
    finished = ProgressSnapshot(PINNED, copied=0, largest_left=None, bytes_per_second=0)
    assert next_run(snapshot=finished).invocation == 2


def test_the_duration_counts_from_the_first_invocation() -> None:
    fields = {**FIELDS, "StartedAt": time.time() - 100}
    event = event_of("Create", ResponseURL="", **{CONTINUATION_KEY: fields})

    body = ReplicationResource(FakeReplicator).respond(event, FakeContext())

    assert 100 <= float(body["Data"]["DurationSeconds"]) < 1000
