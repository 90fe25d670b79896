from __future__ import annotations

import pytest

from ecr_image_replicator.aws.invocation import arn_of_version

ARN = "arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:replicator"


@pytest.mark.parametrize(
    ("invoked", "version", "named"),
    [
        (f"{ARN}:live", "7", f"{ARN}:7"),
        (f"{ARN}:7", "7", f"{ARN}:7"),
        (f"{ARN}:$LATEST", "$LATEST", f"{ARN}:$LATEST"),
        (ARN, "$LATEST", ARN),
        (f"{ARN}:live", "", f"{ARN}:live"),
        ("", "7", ""),
        ("not:an:arn:of:a:function:at:all", "7", "not:an:arn:of:a:function:at:all"),
    ],
)
def test_work_goes_on_in_the_version_that_it_began_with(
    invoked: str, version: str, named: str
) -> None:
    assert arn_of_version(invoked, version) == named
