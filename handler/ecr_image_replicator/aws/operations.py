"""The calls of AWS APIs that the program can make, and the permissions they need.

docs/operations.md lists the permissions and the template grants them; a test compares the three.
"""

from __future__ import annotations

from enum import Enum


class Operation(Enum):
    """A call: boto3's name of the service, the operation, and its permission if named otherwise."""

    ASSUME_ROLE = ("sts", "AssumeRole")
    READ_SECRET = ("secretsmanager", "GetSecretValue")
    READ_OBJECT = ("s3", "GetObject")
    READ_PUBLIC_KEY = ("kms", "GetPublicKey")
    SIGN_IN = ("ecr", "GetAuthorizationToken")
    CHECK_LAYERS = ("ecr", "BatchCheckLayerAvailability")
    LIST_IMAGES = ("ecr", "ListImages")
    DESCRIBE_IMAGES = ("ecr", "DescribeImages")
    DESCRIBE_REPOSITORY = ("ecr", "DescribeRepositories")
    CREATE_REPOSITORY = ("ecr", "CreateRepository")
    PUT_LIFECYCLE_POLICY = ("ecr", "PutLifecyclePolicy")
    PUT_REPOSITORY_POLICY = ("ecr", "SetRepositoryPolicy")
    REMOVE_TAGS = ("ecr", "BatchDeleteImage")
    SIGN_IN_PUBLICLY = ("ecr-public", "GetAuthorizationToken")
    REMOVE_PUBLIC_TAGS = ("ecr-public", "BatchDeleteImage")
    INVOKE_ITSELF = ("lambda", "Invoke", "InvokeFunction")
    WRITE_OBJECT = ("s3", "PutObject")
    LIST_OBJECTS = ("s3", "ListObjectsV2", "ListBucket")
    DELETE_OBJECTS = ("s3", "DeleteObjects", "DeleteObject")
    START_EXECUTION = ("stepfunctions", "StartExecution")
    LIST_EXECUTIONS = ("stepfunctions", "ListExecutions")
    STOP_EXECUTION = ("stepfunctions", "StopExecution")
    CREATE_SCHEDULE = ("scheduler", "CreateSchedule")
    UPDATE_SCHEDULE = ("scheduler", "UpdateSchedule")
    DELETE_SCHEDULE = ("scheduler", "DeleteSchedule")

    @property
    def service(self) -> str:
        """The service as boto3 names it."""
        return str(self.value[0])

    @property
    def api_name(self) -> str:
        """The operation as the API names it."""
        return str(self.value[1])

    @property
    def action(self) -> str:
        """The permission as IAM names it."""
        prefix = {"stepfunctions": "states"}.get(self.service, self.service)
        return f"{prefix}:{self.value[-1]}"
