"""A CDK construct that copies a container image into a repository while a stack is deployed.

Reading order: `deployment` (the construct), `images` (sources, destinations, permissions),
`function` (the Lambda function), `sharing` (its stack), `assets` (its code), `options` (checks),
`names` (tokens).
"""

from ecr_replicator.deployment import ECRDeployment
from ecr_replicator.function import FunctionSettings
from ecr_replicator.images import DockerImageName, S3ArchiveName

__all__ = ["DockerImageName", "ECRDeployment", "FunctionSettings", "S3ArchiveName"]
