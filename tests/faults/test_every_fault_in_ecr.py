"""Faults at each request of a replication to ECR."""

from __future__ import annotations

import pytest
from tests.faults.fault_kinds import FaultKind
from tests.faults.fault_scenes import Scene
from tests.faults.fault_walk import REGISTRY_FAULT_KINDS, walk


@pytest.mark.parametrize("kind", REGISTRY_FAULT_KINDS, ids=lambda kind: kind.name)
def test_no_fault_in_ecr_causes_a_hang_or_a_partial_image(
    ecr_scene: Scene, kind: FaultKind
) -> None:
    walk(ecr_scene, kind, ("destination",))
