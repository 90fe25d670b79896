"""What a mirror needs of AWS: its state in S3, its executions, and its schedule.

Amazon S3, AWS Step Functions and Amazon EventBridge Scheduler API references.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ecr_image_replicator.aws.clients import AwsEndpoint
from ecr_image_replicator.aws.operations import Operation
from ecr_image_replicator.errors import AwsError, RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ecr_image_replicator.aws.clients import AwsCaller

#: DeleteObjects: the most keys in a call.
_DELETE_BATCH: Final = 1000
_MACHINE: Final = re.compile(r"arn:aws[a-z-]*:states:[a-z0-9-]+:[0-9]{12}:stateMachine:\S+")


@dataclass(frozen=True, slots=True)
class MirrorResources:
    """The resources that a function with mirrors has.

    Attributes
    ----------
    bucket
        Where the state is.
    machine_arn
        The state machine's ARN.
    schedule_group, scheduler_role_arn
        Of schedules; "" when there are none.
    """

    bucket: str
    machine_arn: str
    schedule_group: str = ""
    scheduler_role_arn: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> MirrorResources | None:
        """Read the function's variables; None when mirrors are not enabled.

        MIRROR_BUCKET, MIRROR_STATE_MACHINE, MIRROR_SCHEDULE_GROUP, MIRROR_SCHEDULER_ROLE.

        Raises
        ------
        RequestError
            A variable is missing or invalid.
        """
        bucket = environment.get("MIRROR_BUCKET", "").strip()
        if not bucket:
            return None
        machine = environment.get("MIRROR_STATE_MACHINE", "").strip()
        if not _MACHINE.fullmatch(machine):
            raise RequestError("invalid MIRROR_STATE_MACHINE: it is the ARN of a state machine")
        return cls(
            bucket,
            machine,
            environment.get("MIRROR_SCHEDULE_GROUP", "").strip(),
            environment.get("MIRROR_SCHEDULER_ROLE", "").strip(),
        )


def execution_arn(machine_arn: str, name: str) -> str:
    """Return the ARN of an execution of a state machine."""
    return f"{machine_arn.replace(':stateMachine:', ':execution:', 1)}:{name}"


class ObjectStore:
    """Small objects of one bucket.

    Parameters
    ----------
    caller
        The function's own.
    bucket
        The bucket's name.
    """

    def __init__(self, caller: AwsCaller, bucket: str) -> None:
        self._caller = caller
        self.bucket: Final = bucket

    def read(self, key: str) -> bytes | None:
        """Read an object; None when it does not exist.

        Raises
        ------
        AwsError
            S3 rejected the call.
        """
        parameters = {"Bucket": self.bucket, "Key": key}
        try:
            response = self._caller.call(Operation.READ_OBJECT, parameters, AwsEndpoint())
        except AwsError as error:
            # without s3:ListBucket on the whole bucket, a missing key may be denied
            if error.code == "NoSuchKey" or (error.is_denied and not self._exists(key)):
                return None
            raise
        content: bytes = response["Body"].read()
        return content

    def _exists(self, key: str) -> bool:
        return key in self.find_keys(key)

    def write(self, key: str, content: bytes) -> None:
        """Write an object.

        Raises
        ------
        AwsError
            S3 rejected the call.
        """
        parameters = {
            "Bucket": self.bucket,
            "Key": key,
            "Body": content,
            "ContentType": "application/json",
        }
        self._caller.call(Operation.WRITE_OBJECT, parameters, AwsEndpoint())

    def find_keys(self, prefix: str) -> Sequence[str]:
        """List the keys that begin with a prefix.

        Raises
        ------
        AwsError
            S3 rejected the call.
        """
        keys: list[str] = []
        parameters: dict[str, Any] = {"Bucket": self.bucket, "Prefix": prefix}
        while True:
            response = self._caller.call(Operation.LIST_OBJECTS, parameters, AwsEndpoint())
            keys += [each["Key"] for each in response.get("Contents", [])]
            if not response.get("IsTruncated"):
                return keys
            parameters["ContinuationToken"] = response["NextContinuationToken"]

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; those that do not exist are deleted already.

        Raises
        ------
        AwsError
            S3 rejected the call, or kept an object.
        """
        for start in range(0, len(keys), _DELETE_BATCH):
            batch = [{"Key": key} for key in keys[start : start + _DELETE_BATCH]]
            parameters = {"Bucket": self.bucket, "Delete": {"Objects": batch, "Quiet": True}}
            response = self._caller.call(Operation.DELETE_OBJECTS, parameters, AwsEndpoint())
            for failure in response.get("Errors", []):
                raise AwsError(
                    f"cannot delete {failure.get('Key')} in S3: access denied or failed "
                    f"({failure.get('Code')})",
                    action=Operation.DELETE_OBJECTS.action,
                    code=str(failure.get("Code", "")),
                )


class MirrorExecutions:
    """Runs of mirrors, as executions of the state machine.

    Parameters
    ----------
    caller
        The function's own.
    machine_arn
        The state machine's ARN.
    """

    def __init__(self, caller: AwsCaller, machine_arn: str) -> None:
        self._caller = caller
        self._machine_arn = machine_arn

    def start(self, name: str, run: str) -> bool:
        """Start a run; return False when it was started before and has ended.

        Starting a run that is still going on has no effect.

        Raises
        ------
        AwsError
            Step Functions rejected the call.
        """
        parameters = {
            "stateMachineArn": self._machine_arn,
            "name": name,
            "input": json.dumps({"Run": run}),
        }
        try:
            self._caller.call(Operation.START_EXECUTION, parameters, AwsEndpoint())
        except AwsError as error:
            if error.code == "ExecutionAlreadyExists":
                return False
            raise
        return True

    def running(self, prefix: str) -> Iterator[str]:
        """Yield the names of running executions that begin with a prefix.

        Raises
        ------
        AwsError
            Step Functions rejected the call.
        """
        parameters: dict[str, Any] = {
            "stateMachineArn": self._machine_arn,
            "statusFilter": "RUNNING",
            "maxResults": 1000,
        }
        while True:
            response = self._caller.call(Operation.LIST_EXECUTIONS, parameters, AwsEndpoint())
            for each in response.get("executions", []):
                if each["name"].startswith(prefix):
                    yield each["name"]
            if not (token := response.get("nextToken")):
                return
            parameters["nextToken"] = token

    def stop(self, name: str, cause: str) -> None:
        """Stop an execution; one that has ended stays as it is.

        Raises
        ------
        AwsError
            Step Functions rejected the call.
        """
        parameters = {"executionArn": execution_arn(self._machine_arn, name), "cause": cause}
        try:
            self._caller.call(Operation.STOP_EXECUTION, parameters, AwsEndpoint())
        except AwsError as error:
            if error.code != "ExecutionDoesNotExist":
                raise


class MirrorSchedules:
    """Schedules of mirrors, one for each.

    Parameters
    ----------
    caller
        The function's own.
    resources
        The group and the role.
    function_arn
        What schedules invoke.
    """

    def __init__(self, caller: AwsCaller, resources: MirrorResources, function_arn: str) -> None:
        self._caller = caller
        self._resources = resources
        self._function_arn = function_arn

    def put(self, name: str, expression: str, timezone: str, event: Mapping[str, Any]) -> None:
        """Create or replace a schedule that invokes the function with an event.

        Raises
        ------
        AwsError
            EventBridge Scheduler rejected the call.
        """
        parameters: dict[str, Any] = {
            "Name": name,
            "GroupName": self._resources.schedule_group,
            "ScheduleExpression": expression,
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "Target": {
                "Arn": self._function_arn,
                "RoleArn": self._resources.scheduler_role_arn,
                "Input": json.dumps(event),
            },
        }
        if timezone:
            parameters["ScheduleExpressionTimezone"] = timezone
        try:
            self._caller.call(Operation.UPDATE_SCHEDULE, parameters, AwsEndpoint())
        except AwsError as error:
            if error.code != "ResourceNotFoundException":
                raise
            self._caller.call(Operation.CREATE_SCHEDULE, parameters, AwsEndpoint())

    def remove(self, name: str) -> None:
        """Delete a schedule; one that does not exist is deleted already.

        Raises
        ------
        AwsError
            EventBridge Scheduler rejected the call.
        """
        if not self._resources.schedule_group:
            return
        parameters = {"Name": name, "GroupName": self._resources.schedule_group}
        try:
            self._caller.call(Operation.DELETE_SCHEDULE, parameters, AwsEndpoint())
        except AwsError as error:
            if error.code != "ResourceNotFoundException":
                raise
