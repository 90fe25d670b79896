"""A CDK construct that puts a container image into a repository while a stack is deployed.

Reading order: `deployment` (the construct), `images` (what it copies from and to, and the
permissions that this takes), `function` (the Lambda function behind it), `names` (texts that are
known in part only while the app runs).
"""

from ecr_replicator.deployment import ECRDeployment
from ecr_replicator.images import DockerImageName, S3ArchiveName

__all__ = ["DockerImageName", "ECRDeployment", "S3ArchiveName"]
