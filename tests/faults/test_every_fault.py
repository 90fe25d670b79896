"""Each fault at each request of a replication to the loopback registry."""

from __future__ import annotations

import pytest
from local.cloudformation import CloudFormationEndpoint
from tests.faults.fault_kinds import KINDS, FaultKind
from tests.faults.fault_scenes import Scene, responding
from tests.faults.fault_walk import walk


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_no_fault_causes_a_hang_or_a_partial_image(
    local_scene: Scene, endpoint: CloudFormationEndpoint, kind: FaultKind
) -> None:
    walk(local_scene, kind, ("source", "destination"), responding(endpoint))
