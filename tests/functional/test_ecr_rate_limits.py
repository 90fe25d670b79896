"""ECR's limit of manifests per second, on a clock that advances only in waits."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator

import pytest
from local.aws import LoopbackAws
from local.images import Image, build_image, build_layer
from tests.functional.conftest import Function
from tests.unit.builders import FakeClock

from custom_resource.resource import ReplicationResource
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.registry.rate_limiter import RateLimiter
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.settings import Settings

DESTINATION = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/mirror/app:1.0"


@pytest.fixture
def aws_clock() -> FakeClock:
    return FakeClock(time.time())


@pytest.fixture
def sequential_function(aws: LoopbackAws, aws_clock: FakeClock) -> Iterator[Function]:
    """A function that sends requests sequentially, on the clock of `aws`."""
    with pytest.MonkeyPatch.context() as patch:
        deadline = functools.partial(Deadline, clock=aws_clock, wait=aws_clock.wait)
        limiter = functools.partial(RateLimiter, clock=aws_clock)
        patch.setattr("custom_resource.invocation.Deadline", deadline)
        patch.setattr("ecr_image_replicator.endpoint_factory.RateLimiter", limiter)
        patch.setattr("ecr_image_replicator.copy.transfer._THREADS_A_STREAM", 1)
        aws.docker_hub.put(_image(), "library/nginx", "1.27")
        aws.ecr().create_repository("mirror/app")
        replicator = Replicator(Settings(streams=1, propagation_seconds=0))
        yield Function(ReplicationResource(lambda: replicator))
        replicator.close()


def _image() -> Image:
    return build_image([build_layer(20_000, seed=seed) for seed in range(2)])


def test_manifest_pushes_stay_below_ecrs_rate_limit(
    aws: LoopbackAws, sequential_function: Function, aws_clock: FakeClock
) -> None:
    tags = [f"t{number}" for number in range(24)]

    began_at = aws_clock()
    response = sequential_function.create("nginx:1.27", DESTINATION, DestTags=tags)

    assert response["Status"] == "SUCCESS", response["Reason"]
    assert len(aws.ecr().store.tags("mirror/app")) == 25
    puts = [
        each
        for each in aws.requests_to(aws.ecr())
        if each.method == "PUT" and "/manifests/" in each.path
    ]
    assert [each.status for each in puts] == [201] * 25
    assert 2 <= aws_clock() - began_at < 3


def test_the_request_rate_decreases_after_throttling(
    aws: LoopbackAws, sequential_function: Function
) -> None:
    aws.ecr().quirks.put_images_per_second = 4
    tags = [f"t{number}" for number in range(11)]

    response = sequential_function.create(
        "nginx:1.27", DESTINATION, DestTags=tags, RetryConfigs={"baseDelay": 0.1}
    )

    assert response["Status"] == "SUCCESS", response["Reason"]
    assert len(aws.ecr().store.tags("mirror/app")) == 12
