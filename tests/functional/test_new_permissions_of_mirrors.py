"""AccessDenied of AWS in a mirror's first step while a new permission takes effect."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from local.aws import LoopbackAws
from local.images import build_image
from tests.functional.mirror_fixtures import MemoryStore, shared_layers
from tests.functional.test_new_permissions import Clock

from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.mirror.state import Run
from ecr_image_replicator.mirror.steps import SCHEDULED, Chosen, MirrorSteps, StoredRequest
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.mirror_parsing import parse_mirror
from ecr_image_replicator.request.settings import Settings

RUN = Run("0" * 32, "first")
SOURCE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/team/app"
DESTINATION = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/mirror/app"
#: With one attempt, a denial that is counted as an attempt fails the test.
PROPERTIES = {
    "Repositories": [
        {"SrcRepository": SOURCE, "DestRepository": DESTINATION, "RetryConfigs": {"numAttempts": 1}}
    ],
}


class MirrorBetweenRegions:
    """A mirror from one region to another, with a clock that advances only in waits."""

    def __init__(self, aws: LoopbackAws, replicator: Replicator) -> None:
        self.clock = Clock()
        self.store = MemoryStore()
        self.source, self.destination = aws.ecr(region="us-east-1"), aws.ecr()
        self.image = build_image(shared_layers())
        self.source.put(self.image, "team/app", "1")
        self.destination.create_repository("mirror/app")
        self.steps = MirrorSteps(replicator, self.store, clock=self.clock)
        self.deadline = Deadline(800, clock=self.clock, wait=self.clock.wait)

    def choose(self, *, started_seconds_ago: float = 0, is_scheduled: bool = False) -> Chosen:
        event = {"ResourceProperties": PROPERTIES, **({SCHEDULED: True} if is_scheduled else {})}
        now = self.clock()
        request = StoredRequest(event, now - started_seconds_ago, now + 3600)
        self.store.write(RUN.request, request.render())
        return self.steps.choose(RUN, self.deadline)


@pytest.fixture
def mirror(aws: LoopbackAws) -> Iterator[MirrorBetweenRegions]:
    replicator = Replicator(Settings())
    yield MirrorBetweenRegions(aws, replicator)
    replicator.close()


def test_access_denied_by_a_mirrors_source_is_retried(mirror: MirrorBetweenRegions) -> None:
    mirror.source.quirks.denials.next_calls["ecr:GetAuthorizationToken"] = 2

    assert mirror.choose().summary.failed == ()

    assert len(mirror.clock.waits) == 2


def test_access_denied_for_the_source_tags_is_retried(mirror: MirrorBetweenRegions) -> None:
    mirror.source.quirks.denials.next_calls["ecr:BatchGetImage"] = 3  # a HEAD, then GETs

    summary = mirror.choose().summary

    assert (summary.chosen, summary.failed) == (1, ())
    assert len(mirror.clock.waits) == 2


def test_access_denied_for_the_destination_tags_is_retried(mirror: MirrorBetweenRegions) -> None:
    mirror.destination.quirks.denied_actions.add("ecr:ListImages")  # optional, so not retried
    mirror.destination.quirks.denials.next_calls["ecr:BatchGetImage"] = 3
    mirror.destination.put(mirror.image, "mirror/app", "1")

    assert mirror.choose().summary.unchanged == 1

    assert len(mirror.clock.waits) == 2


def test_an_explicit_deny_in_a_mirror_is_not_retried(mirror: MirrorBetweenRegions) -> None:
    mirror.source.quirks.denials.explicit.add("ecr:BatchGetImage")

    assert len(mirror.choose().summary.failed) == 1

    assert mirror.clock.waits == []


def test_access_denied_in_a_mirror_dry_run_is_retried(mirror: MirrorBetweenRegions) -> None:
    mirror.source.quirks.denials.next_calls["ecr:GetAuthorizationToken"] = 2

    summary = mirror.steps.preview(RUN, parse_mirror(PROPERTIES), mirror.deadline)

    assert summary.failed == ()
    assert len(mirror.clock.waits) == 2


def test_access_denied_is_an_error_90_seconds_after_the_request(
    mirror: MirrorBetweenRegions,
) -> None:
    mirror.source.quirks.denied_actions.add("ecr:GetAuthorizationToken")

    assert len(mirror.choose(started_seconds_ago=30).summary.failed) == 1

    assert sum(mirror.clock.waits) == pytest.approx(60)


def test_access_denied_in_a_scheduled_run_is_not_retried(mirror: MirrorBetweenRegions) -> None:
    mirror.source.quirks.denials.next_calls["ecr:GetAuthorizationToken"] = 1

    assert len(mirror.choose(is_scheduled=True).summary.failed) == 1

    assert mirror.clock.waits == []
