"""Denials by AWS in the first step of a mirror while a new permission takes effect."""

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
#: One attempt, so that a denial that counts as an attempt fails the test.
PROPERTIES = {
    "Repositories": [
        {"SrcRepository": SOURCE, "DestRepository": DESTINATION, "RetryConfigs": {"numAttempts": 1}}
    ],
}


class Scene:
    """A mirror from one region to another, whose time passes only while it waits."""

    def __init__(self, aws: LoopbackAws, replicator: Replicator) -> None:
        self.clock = Clock()
        self.store = MemoryStore()
        self.source, self.destination = aws.ecr(region="us-east-1"), aws.ecr()
        self.image = build_image(shared_layers())
        self.source.put(self.image, "team/app", "1")
        self.destination.create_repository("mirror/app")
        self.steps = MirrorSteps(replicator, self.store, clock=self.clock)
        self.deadline = Deadline(800, clock=self.clock, wait=self.clock.wait)

    def choose(self, *, began_seconds_ago: float = 0, is_scheduled: bool = False) -> Chosen:
        event = {"ResourceProperties": PROPERTIES, **({SCHEDULED: True} if is_scheduled else {})}
        now = self.clock()
        request = StoredRequest(event, now - began_seconds_ago, now + 3600)
        self.store.write(RUN.request, request.render())
        return self.steps.choose(RUN, self.deadline)


@pytest.fixture
def scene(aws: LoopbackAws) -> Iterator[Scene]:
    replicator = Replicator(Settings())
    yield Scene(aws, replicator)
    replicator.close()


def test_the_source_is_retried(scene: Scene) -> None:
    scene.source.quirks.denials.next_calls["ecr:GetAuthorizationToken"] = 2

    assert scene.choose().summary.failed == ()

    assert len(scene.clock.waits) == 2


def test_the_tags_of_the_source_are_retried(scene: Scene) -> None:
    scene.source.quirks.denials.next_calls["ecr:BatchGetImage"] = 3  # a HEAD, then GETs

    summary = scene.choose().summary

    assert (summary.chosen, summary.failed) == (1, ())
    assert len(scene.clock.waits) == 2


def test_the_tags_of_the_destination_are_retried(scene: Scene) -> None:
    scene.destination.quirks.denied_actions.add("ecr:ListImages")  # not needed, so not retried
    scene.destination.quirks.denials.next_calls["ecr:BatchGetImage"] = 3
    scene.destination.put(scene.image, "mirror/app", "1")

    assert scene.choose().summary.unchanged == 1

    assert len(scene.clock.waits) == 2


def test_an_explicit_deny_is_final(scene: Scene) -> None:
    scene.source.quirks.denials.explicit.add("ecr:BatchGetImage")

    assert len(scene.choose().summary.failed) == 1

    assert scene.clock.waits == []


def test_a_dry_run_is_retried(scene: Scene) -> None:
    scene.source.quirks.denials.next_calls["ecr:GetAuthorizationToken"] = 2

    summary = scene.steps.preview(RUN, parse_mirror(PROPERTIES), scene.deadline)

    assert summary.failed == ()
    assert len(scene.clock.waits) == 2


def test_a_denial_is_final_90_seconds_after_the_request(scene: Scene) -> None:
    scene.source.quirks.denied_actions.add("ecr:GetAuthorizationToken")

    assert len(scene.choose(began_seconds_ago=30).summary.failed) == 1

    assert sum(scene.clock.waits) == pytest.approx(60)


def test_a_scheduled_run_is_not_retried(scene: Scene) -> None:
    scene.source.quirks.denials.next_calls["ecr:GetAuthorizationToken"] = 1

    assert len(scene.choose(is_scheduled=True).summary.failed) == 1

    assert scene.clock.waits == []
