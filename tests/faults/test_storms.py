from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from local.certificates import CertificateAuthority
from local.cloudformation import CloudFormationEndpoint
from local.registry import RegistryServer
from tests.faults.fault_kinds import KINDS
from tests.faults.fault_proxy import Exchange, Fault, pass_on
from tests.faults.lambda_context import LambdaContext
from tests.faults.scenery import Choice, LocalRegistry, Scene, scene

from lifecycle import ReplicationResource
from replicator.digests import Digest
from replicator.errors import ReplicationError
from replicator.replication import Replicator

STORMS = 200


@pytest.fixture(scope="module")
def parallel_scene() -> Iterator[Scene]:
    with RegistryServer() as server, scene(LocalRegistry(server), streams=4, attempts=8) as opened:
        yield opened


@pytest.fixture(scope="module")
def endpoint(small_trust_store: CertificateAuthority) -> Iterator[CloudFormationEndpoint]:
    with CloudFormationEndpoint(small_trust_store.server_context()) as opened:
        yield opened


def weather(generator: random.Random, chance: float) -> Choice:
    def choose(_: Exchange) -> Fault:
        strikes = generator.random() < chance
        return generator.choice(KINDS).strike if strikes else pass_on

    return choose


@pytest.mark.parametrize("seed", range(STORMS))
def test_a_storm_ends_in_one_true_answer(
    parallel_scene: Scene, endpoint: CloudFormationEndpoint, seed: int
) -> None:
    generator = random.Random(seed)
    chance = generator.choice((0.02, 0.1, 0.3))
    answers_before = len(endpoint.answers)

    def answer(replicator: Replicator, properties: Mapping[str, Any]) -> Digest | ReplicationError:
        event = endpoint.event("Create", properties)
        told = ReplicationResource(lambda: replicator).answer(event, LambdaContext())
        assert endpoint.wait_for_answer(event["RequestId"]).document == told
        if told["Status"] == "FAILED":
            assert "defect" not in told["Reason"]
            return ReplicationError(told["Reason"])
        return Digest.parse(told["Data"]["ImageDigest"])

    parallel_scene.run(weather(generator, chance), weather(generator, chance), answer)
    assert len(endpoint.answers) == answers_before + 1
    assert not endpoint.violations
