"""Random faults at many requests: each replication ends with exactly one response."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from local.cloudformation import CloudFormationEndpoint
from local.registry import RegistryServer
from tests.faults.fault_kinds import KINDS
from tests.faults.fault_proxy import Exchange, Fault, pass_on
from tests.faults.fault_scenes import Choice, LocalRegistry, Scene, responding, scene

RUNS = 200


@pytest.fixture(scope="module")
def parallel_scene() -> Iterator[Scene]:
    with RegistryServer() as server, scene(LocalRegistry(server), streams=4, attempts=8) as opened:
        yield opened


def random_faults(generator: random.Random, probability: float) -> Choice:
    def choose(_: Exchange) -> Fault:
        is_injected = generator.random() < probability
        return generator.choice(KINDS).inject if is_injected else pass_on

    return choose


@pytest.mark.parametrize("seed", range(RUNS))
def test_many_random_faults_end_with_one_correct_response(
    parallel_scene: Scene, endpoint: CloudFormationEndpoint, seed: int
) -> None:
    generator = random.Random(seed)
    probability = generator.choice((0.02, 0.1, 0.3))
    parallel_scene.run(
        random_faults(generator, probability),
        random_faults(generator, probability),
        responding(endpoint),
    )
