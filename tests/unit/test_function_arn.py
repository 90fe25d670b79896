from __future__ import annotations

import pytest

from ecr_image_replicator.aws.invocation import unqualified_arn

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:replicator"


@pytest.mark.parametrize(
    ("invoked", "named"),
    [
        (ARN, ARN),
        (f"{ARN}:live", ARN),
        (f"{ARN}:$LATEST", ARN),
        (f"{ARN}:7", ARN),
        ("", ""),
        ("test_function", "test_function"),
    ],
)
def test_version_and_alias_are_removed_from_a_function_arn(invoked: str, named: str) -> None:
    assert unqualified_arn(invoked) == named
