"""What the lifecycle tells of each run, and how it answers the stack that the function is of."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from tests.unit.builders import digest_of

from custom_resource.resource import ReplicationResource
from ecr_image_replicator.copy.ports import Progress
from ecr_image_replicator.copy.results import TransferReport
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.errors import DeniedError, OutOfTimeError, Side, TransientError
from ecr_image_replicator.outcome import Outcome
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.parsing import ReplicationRequest
from ecr_image_replicator.request.settings import Settings

PROPERTIES = {"SrcImage": "nginx:1.27", "DestImage": "quay.io/team/app:v1"}


class Context:
    log_stream_name = "2026/11/21/[$LATEST]0123"

    def __init__(self) -> None:
        self.aws_request_id = str(uuid.uuid4())

    def get_remaining_time_in_millis(self) -> int:
        return 900_000


class FakeReplicator(Replicator):
    """Fails as the test says, or has replicated."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__(Settings())
        self._error = error

    def replicate(
        self,
        request: ReplicationRequest,
        *,
        deadline: Deadline,
        progress: Progress,
        previous: str = "",
        **_: object,
    ) -> Outcome:
        assert deadline.remaining_seconds > 0
        assert previous == ""
        progress.retry(TransientError("it broke off"))
        if self._error is not None:
            raise self._error
        content = digest_of(b"image")
        return Outcome(request.destination, content, "x", (), True, TransferReport(), 1.0)


def resource_of(error: Exception | None = None) -> ReplicationResource:
    engine = FakeReplicator(error)
    return ReplicationResource(lambda: engine)


def answer(resource: ReplicationResource, **event: Any) -> dict[str, Any]:
    return resource.answer({"ResourceProperties": PROPERTIES, **event}, Context())


def test_a_success_is_measured() -> None:
    resource = resource_of()
    answer(resource)
    assert resource.metrics is not None
    assert (resource.metrics.status, resource.metrics.is_changed) == ("SUCCESS", True)
    assert resource.metrics.cause == ""
    assert resource.metrics.counts.retries == 1
    assert resource.metrics.seconds >= 0


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (DeniedError("no", side=Side.SOURCE), "Denied"),
        (OutOfTimeError("no"), "OutOfTime"),
        (KeyError("hunter2"), "Defect"),
    ],
)
def test_a_failure_is_measured_by_the_kind_of_its_error(error: Exception, cause: str) -> None:
    resource = resource_of(error)
    answer(resource)
    assert resource.metrics is not None
    assert (resource.metrics.status, resource.metrics.cause) == ("FAILED", cause)
    answer(resource, ResourceProperties={"SrcImg": "a"})
    assert resource.metrics.cause == "Request"


def test_a_delete_that_goes_well_is_not_measured_and_one_that_fails_is() -> None:
    resource = resource_of()
    answer(resource, RequestType="Delete", PhysicalResourceId="not-created/Image/1")
    assert resource.metrics is None
    answer(resource, RequestType="Remove")
    assert resource.metrics is not None


def ask_for_settings(resource: ReplicationResource, **settings: Any) -> dict[str, Any]:
    return answer(
        resource,
        ResourceType="Custom::FunctionSettings",
        ResourceProperties={"ServiceToken": "arn", **settings},
        StackId="stack",
    )


def test_the_functions_own_stack_is_answered_by_an_id_for_each_of_its_settings() -> None:
    resource = resource_of(AssertionError())
    asked: tuple[dict[str, str], ...] = ({"LogLevel": "INFO"}, {"LogLevel": "DEBUG"}, {})
    answers = [ask_for_settings(resource, **each) for each in asked]
    assert [body["Status"] for body in answers] == ["SUCCESS"] * 3
    ids = [body["PhysicalResourceId"] for body in answers]
    assert len(set(ids)) == 3
    assert all(each.startswith("settings-") for each in ids)
    assert resource.metrics is None
    again = ask_for_settings(resource_of(), LogLevel="INFO")
    assert again["PhysicalResourceId"] == ids[0]


def test_an_id_is_no_other_where_lambda_would_publish_no_other_version() -> None:
    subnets = ["subnet-1", "subnet-2"]
    one = ask_for_settings(resource_of(), SubnetIds=subnets)["PhysicalResourceId"]
    same: tuple[dict[str, Any], ...] = (
        {"SubnetIds": subnets[::-1]},
        {"SubnetIds": [*subnets, *subnets]},
        {"SubnetIds": subnets, "ServiceTimeout": "600"},
    )
    assert {ask_for_settings(resource_of(), **each)["PhysicalResourceId"] for each in same} == {one}
    fewer = ask_for_settings(resource_of(), SubnetIds=subnets[:1])["PhysicalResourceId"]
    assert fewer != one


def test_settings_that_cannot_be_read_fail_the_functions_own_stack() -> None:
    def unreadable() -> Replicator:
        return Replicator(Settings.from_environment({"PARALLEL_STREAMS": "many"}))

    body = ask_for_settings(ReplicationResource(unreadable))
    assert body["Status"] == "FAILED"
    assert "PARALLEL_STREAMS" in body["Reason"]


def test_the_secret_of_a_proxy_is_not_in_the_settings_id() -> None:
    body = ask_for_settings(resource_of(), HttpsProxy="http://ann:hunter2@proxy")
    assert "hunter2" not in json.dumps(body)
