"""Faults at every request of a replication to ECR."""

from __future__ import annotations

import pytest
from tests.faults.fault_kinds import FaultKind
from tests.faults.fault_scenes import Scene
from tests.faults.fault_walk import SEEN_KINDS, walk


@pytest.mark.parametrize("kind", SEEN_KINDS, ids=lambda kind: kind.name)
def test_no_fault_before_ecr_hangs_or_leaves_half_an_image(
    ecr_scene: Scene, kind: FaultKind
) -> None:
    walk(ecr_scene, kind, ("destination",))
