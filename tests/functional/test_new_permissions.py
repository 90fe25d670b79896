"""AccessDenied of AWS while a new permission takes effect: retried, logged, then an error."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from local.archives import SavedImage, build_docker_save
from local.aws import LoopbackAws
from local.images import build_image, build_layer
from local.images.manifests import Image
from tests.functional.conftest import Function

from custom_resource.resource import ReplicationResource
from ecr_image_replicator.copy.progress import LoggedProgress
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.errors import ReplicationError
from ecr_image_replicator.outcome import Outcome
from ecr_image_replicator.propagation import PermissionPropagation
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.parsing import parse_request
from ecr_image_replicator.request.settings import Settings

HOST = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
DESTINATION = f"{HOST}/mirror/app:1.0"
READER = "arn:aws:iam::210987654321:role/reader"
#: With one attempt, a denial that is counted as an attempt fails the test.
ONCE = {"numAttempts": 1}


class Clock:
    """A clock that advances only in `wait`."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.now += seconds
        return False


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def copy(aws: LoopbackAws, clock: Clock) -> Iterator[Callable[..., Outcome]]:
    """Copy as a Create that started now, or as a direct call if `propagates` is False."""
    aws.docker_hub.put(_image(), "library/nginx", "1")
    aws.ecr().create_repository("mirror/app")
    replicator = Replicator(Settings())

    def copy(source: str = "nginx:1", *, propagates: bool = True, **properties: Any) -> Outcome:
        deadline = Deadline(800, clock=clock, wait=clock.wait)
        named = {"SrcImage": source, "DestImage": DESTINATION, "RetryConfigs": ONCE, **properties}
        return replicator.replicate(
            parse_request(named),
            deadline=deadline,
            progress=LoggedProgress(),
            propagation=PermissionPropagation(deadline, 90, clock=clock) if propagates else None,
        )

    yield copy
    replicator.close()


def _image() -> Image:
    return build_image([build_layer(5000, seed=1)])


def _secret(aws: LoopbackAws) -> dict[str, Any]:
    aws.client("secretsmanager").create_secret(
        Name="hub", SecretString=json.dumps({"username": "ann", "password": "hunter2"})
    )
    aws.docker_hub.private_repositories.add("library/nginx")
    return {"SrcCreds": "hub"}


def _archive(aws: LoopbackAws, directory: Path) -> str:
    s3 = aws.client("s3")
    s3.create_bucket(
        Bucket="archives", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    image = SavedImage([build_layer(5000, seed=2)], ["app:1.0"])
    file = build_docker_save(directory / "app.tar", [image])
    s3.upload_file(str(file), "archives", "app.tar")
    return "s3://archives/app.tar"


def _assert_backoff(clock: Clock, count: int) -> None:
    ceilings = [min(16.0, 2.0**each) for each in range(count)]
    assert len(clock.waits) == count
    for waited, ceiling in zip(clock.waits, ceilings, strict=True):
        assert ceiling / 2 <= waited <= ceiling


def test_access_denied_by_s3_is_retried(
    aws: LoopbackAws, copy: Callable[..., Outcome], clock: Clock, tmp_path: Path
) -> None:
    source = _archive(aws, tmp_path)
    aws.services.denials.next_calls["s3:GetObject"] = 3

    assert copy(source).changed

    _assert_backoff(clock, 3)


def test_access_denied_by_secrets_manager_is_retried(
    aws: LoopbackAws, copy: Callable[..., Outcome], clock: Clock
) -> None:
    properties = _secret(aws)
    aws.services.denials.next_calls["secretsmanager:GetSecretValue"] = 2

    assert copy(**properties).changed

    _assert_backoff(clock, 2)


def test_access_denied_by_sts_is_retried(
    aws: LoopbackAws, copy: Callable[..., Outcome], clock: Clock
) -> None:
    aws.add_role(READER)
    aws.ecr("210987654321").put(_image(), "team/app", "1")
    aws.services.denials.next_calls["sts:AssumeRole"] = 2

    source = "210987654321.dkr.ecr.eu-west-1.amazonaws.com/team/app:1"
    assert copy(source, SrcRoleArn=READER).changed

    _assert_backoff(clock, 2)


def test_access_denied_by_kms_is_retried(
    aws: LoopbackAws, copy: Callable[..., Outcome], clock: Clock
) -> None:
    created = aws.client("kms").create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")
    aws.services.denials.next_calls["kms:GetPublicKey"] = 2

    with pytest.raises(
        ReplicationError, match="signature"
    ):  # the image is not signed; the key was read
        copy(VerifySignatureKey=created["KeyMetadata"]["Arn"])

    _assert_backoff(clock, 2)


@pytest.mark.parametrize(
    "action",
    [
        "ecr:GetAuthorizationToken",
        "ecr:BatchGetImage",
        "ecr:InitiateLayerUpload",
        "ecr:CompleteLayerUpload",
        "ecr:PutImage",
    ],
)
def test_access_denied_by_ecr_is_retried(
    aws: LoopbackAws, copy: Callable[..., Outcome], clock: Clock, action: str
) -> None:
    aws.ecr().quirks.denials.next_calls[action] = 1

    assert copy().changed

    assert len(clock.waits) == 1
    assert aws.ecr().store.tags("mirror/app") == {"1.0": _image().digest}


def test_a_connection_that_ecr_closes_without_the_permission_is_retried(
    aws: LoopbackAws, copy: Callable[..., Outcome], clock: Clock
) -> None:
    aws.ecr().quirks.drops_denied_uploads = True
    aws.ecr().quirks.denials.next_calls["ecr:InitiateLayerUpload"] = 2

    assert copy().changed

    assert clock.waits


@pytest.mark.parametrize("action", ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"])
def test_access_denied_by_ecr_as_the_source_is_retried(
    aws: LoopbackAws, copy: Callable[..., Outcome], clock: Clock, action: str
) -> None:
    source = aws.ecr(region="us-east-1")
    source.put(_image(), "team/app", "1")
    source.quirks.denials.next_calls[action] = (
        2  # the first may be a HEAD, which is followed by a GET
    )

    assert copy("123456789012.dkr.ecr.us-east-1.amazonaws.com/team/app:1").changed

    assert clock.waits


def test_access_denied_for_createrepository_is_retried(
    aws: LoopbackAws, copy: Callable[..., Outcome], clock: Clock
) -> None:
    aws.ecr().quirks.denials.next_calls["ecr:CreateRepository"] = 2

    destination = f"{HOST}/mirror/new:1.0"
    assert copy(DestImage=destination, CreateRepository="true").changed

    _assert_backoff(clock, 2)


def test_access_denied_for_an_optional_call_is_not_retried(
    aws: LoopbackAws, copy: Callable[..., Outcome], clock: Clock
) -> None:
    aws.ecr().quirks.denied_actions.add("ecr:BatchCheckLayerAvailability")

    assert copy().changed

    assert clock.waits == []


def test_the_first_denial_is_logged_as_a_warning(
    aws: LoopbackAws, copy: Callable[..., Outcome], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING", "ecr_image_replicator")
    aws.ecr().quirks.denials.next_calls["ecr:GetAuthorizationToken"] = 3

    copy()

    logged = [each.message for each in caplog.records if "access denied, retrying" in each.message]
    assert len(logged) == 1
    assert "ecr:GetAuthorizationToken" in logged[0]


def test_access_denied_is_an_error_after_90_seconds(
    aws: LoopbackAws, copy: Callable[..., Outcome], clock: Clock
) -> None:
    aws.ecr().quirks.denied_actions.add("ecr:PutImage")

    with pytest.raises(ReplicationError, match=r"access denied.*ecr:PutImage"):
        copy()

    assert 90 <= sum(clock.waits) < 92  # includes the waits of the rate limiter
    assert max(clock.waits) <= 16


@pytest.mark.parametrize("action", ["ecr:PutImage", "ecr:GetAuthorizationToken"])
def test_an_explicit_deny_is_not_retried(
    aws: LoopbackAws, copy: Callable[..., Outcome], clock: Clock, action: str
) -> None:
    aws.ecr().quirks.denials.explicit.add(action)

    with pytest.raises(ReplicationError, match="access denied"):
        copy()

    assert clock.waits == []


def test_access_denied_in_a_direct_call_is_not_retried(
    aws: LoopbackAws, copy: Callable[..., Outcome], clock: Clock
) -> None:
    aws.ecr().quirks.denials.next_calls["ecr:PutImage"] = 1

    with pytest.raises(ReplicationError, match="ecr:PutImage"):
        copy(propagates=False)

    assert clock.waits == []


def test_access_denied_by_another_registry_is_not_retried(
    aws: LoopbackAws, copy: Callable[..., Outcome], clock: Clock
) -> None:
    aws.docker_hub.private_repositories.add("library/nginx")

    with pytest.raises(ReplicationError, match="access denied"):
        copy()

    assert clock.waits == []


def test_a_create_succeeds_after_the_permission_takes_effect(
    aws: LoopbackAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ecr_image_replicator.propagation._MAX_DELAY_SECONDS", 0.01)
    aws.docker_hub.put(_image(), "library/nginx", "1")
    aws.ecr().create_repository("mirror/app")
    aws.ecr().quirks.denials.next_calls["ecr:PutImage"] = 3
    replicator = Replicator(Settings())

    response = Function(ReplicationResource(lambda: replicator)).create("nginx:1", DESTINATION)
    replicator.close()

    assert response["Status"] == "SUCCESS", response["Reason"]
