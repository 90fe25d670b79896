from __future__ import annotations

import gc

from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.errors import Side
from ecr_image_replicator.model.references import parse_image_reference
from ecr_image_replicator.registry.authenticator import Authenticator
from ecr_image_replicator.registry.registries import Registries
from ecr_image_replicator.request.credentials import NoCredentials
from ecr_image_replicator.retries import Backoff, RetryPolicy


def test_the_number_of_kept_authorizations_is_limited() -> None:
    def count_kept() -> int:
        gc.collect()
        return sum(isinstance(each, Authenticator) for each in gc.get_objects())

    before, deadline = count_kept(), Deadline(60)
    registries = Registries(connections=1)
    for number in range(300):
        registries.open_tags(
            parse_image_reference(f"quay.io/team/app{number}:1"),
            NoCredentials(),
            Side.SOURCE,
            backoff=Backoff(RetryPolicy(), deadline),
            deadline=deadline,
        )
    assert count_kept() - before == 256
    registries.close()
