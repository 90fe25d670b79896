"""Faults at each request of a replication to Debian's docker-registry."""

from __future__ import annotations

import pytest
from tests.faults.fault_kinds import FaultKind
from tests.faults.fault_scenes import Scene
from tests.faults.fault_walk import REGISTRY_FAULT_KINDS, walk


@pytest.mark.parametrize("kind", REGISTRY_FAULT_KINDS, ids=lambda kind: kind.name)
def test_no_fault_in_docker_registry_causes_a_hang_or_a_partial_image(
    docker_scene: Scene, kind: FaultKind
) -> None:
    walk(docker_scene, kind, ("destination",))
