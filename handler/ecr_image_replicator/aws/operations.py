"""Every call of an AWS API that the program can make; there is no other way to make one.

docs/operations.md lists them with the permissions they need, and the template grants those; tests
compare the three.
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class Operation(Enum):
    """A call: the service as boto3 names it, the operation, and its permission's name if other."""

    ASSUME_ROLE = ("sts", "AssumeRole")
    READ_SECRET = ("secretsmanager", "GetSecretValue")
    READ_OBJECT = ("s3", "GetObject")
    READ_PUBLIC_KEY = ("kms", "GetPublicKey")
    SIGN_IN = ("ecr", "GetAuthorizationToken")
    CHECK_LAYERS = ("ecr", "BatchCheckLayerAvailability")
    LIST_IMAGES = ("ecr", "ListImages")
    DESCRIBE_REPOSITORY = ("ecr", "DescribeRepositories")
    CREATE_REPOSITORY = ("ecr", "CreateRepository")
    PUT_LIFECYCLE_POLICY = ("ecr", "PutLifecyclePolicy")
    PUT_REPOSITORY_POLICY = ("ecr", "SetRepositoryPolicy")
    REMOVE_TAGS = ("ecr", "BatchDeleteImage")
    SIGN_IN_PUBLICLY = ("ecr-public", "GetAuthorizationToken")
    REMOVE_PUBLIC_TAGS = ("ecr-public", "BatchDeleteImage")
    INVOKE_ITSELF = ("lambda", "Invoke", "InvokeFunction")

    @property
    def service(self) -> str:
        """The service as boto3 names it."""
        return str(self.value[0])

    @property
    def api_name(self) -> str:
        """The operation as its API names it."""
        return str(self.value[1])

    @property
    def action(self) -> str:
        """The permission as IAM names it."""
        return f"{self.service}:{self.value[-1]}"


#: Permissions that calls need beside their own name, and when.
FURTHER_ACTIONS: Final = {
    Operation.READ_OBJECT: ("s3:GetObjectVersion", "s3:ListBucket", "kms:Decrypt"),
    Operation.READ_SECRET: ("kms:Decrypt",),
    Operation.CREATE_REPOSITORY: ("ecr:TagResource", "kms:CreateGrant", "kms:DescribeKey"),
    Operation.SIGN_IN_PUBLICLY: ("sts:GetServiceBearerToken",),
}
#: Permissions that ECR's registries ask for behind the distribution protocol.
PULL_ACTIONS: Final = ("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
PUSH_ACTIONS: Final = (
    "ecr:BatchCheckLayerAvailability",
    "ecr:BatchGetImage",
    "ecr:CompleteLayerUpload",
    "ecr:GetDownloadUrlForLayer",
    "ecr:InitiateLayerUpload",
    "ecr:PutImage",
    "ecr:UploadLayerPart",
)
PUBLIC_PUSH_ACTIONS: Final = (
    "ecr-public:BatchCheckLayerAvailability",
    "ecr-public:CompleteLayerUpload",
    "ecr-public:InitiateLayerUpload",
    "ecr-public:PutImage",
    "ecr-public:UploadLayerPart",
)
