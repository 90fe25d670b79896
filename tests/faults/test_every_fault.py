"""Every fault at every request of a replication to the loopback registry."""

from __future__ import annotations

import pytest
from local.cloudformation import CloudFormationEndpoint
from tests.faults.fault_kinds import KINDS, FaultKind
from tests.faults.fault_scenes import Scene, responding
from tests.faults.fault_walk import walk


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_no_fault_at_any_request_hangs_or_leaves_half_an_image(
    local_scene: Scene, endpoint: CloudFormationEndpoint, kind: FaultKind
) -> None:
    walk(local_scene, kind, ("source", "destination"), responding(endpoint))
