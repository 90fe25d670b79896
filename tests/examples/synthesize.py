"""Synthesizes all tested stacks. Runs in `.venv-cdk` with `examples/cdk` in the module path.

``python synthesize.py DIRECTORY`` writes a cloud assembly: the example's app, stacks that use
cdk-ecr-deployment and stacks that use its replacement. ``validation-errors.json`` has the errors
of the construct for contradictory options.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import cdk_ecr_deployment as peer
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_ecr_assets as ecr_assets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

import ecr_replicator as ours
from replicated_images import build

_HOST = f"{cdk.Aws.ACCOUNT_ID}.dkr.ecr.us-west-2.amazonaws.com"
_SECRET_ARN = "arn:aws:secretsmanager:us-west-2:123456789012:secret:docker-hub"

_KEY_ARN = "arn:aws:kms:us-west-2:123456789012:key/00000000-1111-2222-3333-444444444444"


def add_peers_usages(stack: cdk.Stack, library: Any, image_directory: str) -> None:
    """Use a library as in each example of cdk-ecr-deployment and its README.

    `library` is cdk_ecr_deployment or its replacement.
    """
    docker_image, archive = library.DockerImageName, library.S3ArchiveName
    asset = ecr_assets.DockerImageAsset(stack, "Asset", directory=image_directory)
    usages: dict[str, dict[str, Any]] = {
        "CdkAsset": {"src": docker_image(asset.image_uri)},
        "DockerHub": {"src": docker_image("nginx:latest")},
        "UserAndPassword": {"src": docker_image("javacs3/nginx:latest", "username:password")},
        "SecretsName": {"src": docker_image("javacs3/nginx:latest", "docker-hub")},
        "SecretsArn": {"src": docker_image("javacs3/nginx:latest", _SECRET_ARN)},
        "WholeIndex": {
            "src": docker_image("public.ecr.aws/nginx/nginx:latest"),
            "dest": docker_image(f"{_HOST}/wholeindex:manifest"),
            "copy_image_index": True,
            "arch_image_tags": {"amd64": "my-nginx-amd64", "arm64": "my-nginx-arm64"},
        },
        "ToEcrPublic": {
            "src": docker_image(f"{_HOST}/my-nginx:latest"),
            "dest": docker_image("public.ecr.aws/your-alias/your-repo:latest"),
            "copy_image_index": True,
            "arch_image_tags": {"amd64": "latest-amd64", "arm64": "latest-arm64"},
        },
        "OneArchitecture": {"src": docker_image("nginx:latest"), "image_arch": ["arm64"]},
        "Retries": {
            "src": docker_image("nginx:latest"),
            "retry_configs": {"numAttempts": 3, "baseDelay": 1, "maxDelay": 5},
        },
        "Memory": {"src": docker_image("nginx:latest"), "memory_limit": 1024},
        "Archive": {"src": archive("builds/app.tar", "app:1.0")},
        "ArchiveOfOne": {"src": archive("builds/app.tar")},
    }
    for name, usage in usages.items():
        usage.setdefault("dest", docker_image(f"{_HOST}/{name.lower()}:latest"))
        deployment = library.ECRDeployment(stack, name, **usage)
        if "creds" in name.lower() or name.startswith("Secret"):
            deployment.add_to_principal_policy(
                iam.PolicyStatement(
                    effect=iam.Effect.ALLOW,
                    actions=["secretsmanager:GetSecretValue"],
                    resources=["*"],
                )
            )


class OwnUsages(cdk.Stack):
    """Options of this project's construct that the peer does not have."""

    def __init__(self, scope: Construct, construct_id: str, tarball: str) -> None:
        super().__init__(scope, construct_id)
        repository = ecr.Repository(self, "Repository", repository_name="mirror/app")
        bucket = s3.Bucket.from_bucket_name(self, "Bucket", "builds")
        secret = secretsmanager.Secret(
            self,
            "Secret",
            secret_string_value=cdk.SecretValue.unsafe_plain_text("username:password"),
        )
        key = kms.Key.from_key_arn(
            self,
            "Key",
            _KEY_ARN,
        )
        other = iam.Role.from_role_arn(self, "Other", "arn:aws:iam::210987654321:role/Reader")
        vpc = ec2.Vpc(self, "Vpc", max_azs=2)
        group = ec2.SecurityGroup(self, "Group", vpc=vpc)
        to = ours.DockerImageName.from_repository

        ours.ECRDeployment(
            self,
            "Tarball",
            src=ecr_assets.TarballImageAsset(self, "TarballAsset", tarball_file=tarball),
            dest=to(repository, "tarball"),
        )
        ours.ECRDeployment(
            self,
            "Object",
            src=ours.S3ArchiveName.from_bucket(bucket, "app.tar", "app:1.0"),
            dest=to(repository, "object"),
        )
        ours.ECRDeployment(
            self,
            "Everything",
            src=ours.DockerImageName("registry.example.com:5000/team/app:1.0", secret),
            dest=to(repository, "1.0"),
            tags=["stable", "1"],
            platforms=["linux/amd64", "linux/arm64"],
            arch_image_tags={"amd64": "1.0-amd64"},
            copy_referrers="required",
            verify_signature_key=key,
            on_delete="Untag",
            dry_run=True,
            trigger="2",
        )
        ours.ECRDeployment(
            self,
            "DryRun",
            src=ours.DockerImageName("nginx:latest"),
            dest=to(repository, "tried"),
            dry_run=True,
        )
        ours.ECRDeployment(
            self,
            "Shared",
            src=ours.DockerImageName("nginx:latest"),
            dest=to(repository, "shared"),
            image_format="docker",
            compression="none",
            create_repository={"ScanOnPush": True},
            src_external_id="of-source",
            service_token=cdk.Fn.import_value("ecr-image-replicator-ServiceToken"),
        )
        ours.ECRDeployment(
            self,
            "Settings",
            src=ours.DockerImageName("nginx:latest"),
            dest=to(repository, "settings"),
            create_repository=True,
            settings=ours.FunctionSettings(
                https_proxy="http://proxy.example.com:3128",
                default_platforms=["linux/arm64"],
                allowed_destinations=["*.dkr.ecr.*/mirror/*"],
                architecture=lambda_.Architecture.X86_64,
            ),
        )
        ours.ECRDeployment(
            self,
            "OtherAccount",
            src=ours.DockerImageName("210987654321.dkr.ecr.eu-west-1.amazonaws.com/app:1.0"),
            src_role=other,
            dest=ours.DockerImageName(f"{_HOST}/plain/app:1.0"),
        )
        ours.ECRDeployment(
            self,
            "ToOtherAccount",
            src=ours.DockerImageName("nginx:latest"),
            dest=ours.DockerImageName("210987654321.dkr.ecr.eu-west-1.amazonaws.com/new:1.0"),
            dest_role=other,
            create_repository=True,
            verify_signature_key="arn:aws:kms:us-west-2:123456789012:key/given-as-text",
        )
        ours.ECRDeployment(
            self,
            "Network",
            src=ours.DockerImageName("nginx:latest"),
            dest=to(repository, "network"),
            role=iam.Role(self, "OwnRole", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com")),
            vpc=vpc,
            vpc_subnets=ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS),
            security_groups=[group],
        )


class Team(cdk.Stack):
    """A stack that copies images to its own repository and to another one."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        other: ecr.IRepository | None = None,
        **options: Any,
    ) -> None:
        super().__init__(scope, construct_id, **options)
        self.repository = ecr.Repository(self, "Repository")
        for number, repository in enumerate(filter(None, (self.repository, other))):
            ours.ECRDeployment(
                self,
                f"Image{number}",
                src=ours.DockerImageName("nginx:latest"),
                dest=ours.DockerImageName.from_repository(repository, "1"),
            )


def add_stages(app: cdk.App) -> None:
    """Add stages whose stacks depend on each other, in several environments."""
    agnostic = cdk.Stage(app, "Agnostic")
    later = Team(agnostic, "Later")
    earlier = Team(agnostic, "Earlier")
    # opposite to the order of creation
    later.add_stack_dependency(earlier)
    Team(agnostic, "User", other=earlier.repository)
    nested = cdk.NestedStack(earlier, "Nested")
    ours.ECRDeployment(
        nested,
        "Image",
        src=ours.DockerImageName("nginx:latest"),
        dest=ours.DockerImageName.from_repository(earlier.repository, "nested"),
    )
    for region in ("eu-west-1", "us-east-1"):
        env = cdk.Environment(account="123456789012", region=region)
        Team(agnostic, f"Regional-{region}", env=env)
    named = cdk.Stage(app, "Named")
    named.node.set_context("ecr-replicator:stack", "Images")
    Team(named, "Only")
    alone = cdk.Stage(app, "Alone")
    stack = Team(alone, "First")
    ours.ECRDeployment(
        stack,
        "Own",
        src=ours.DockerImageName("nginx:latest"),
        dest=ours.DockerImageName.from_repository(stack.repository, "2"),
        settings=ours.FunctionSettings(is_shared=False),
    )


def validation_errors() -> dict[str, str]:
    """Return the errors of the construct for contradictory options."""
    contradictions: dict[str, dict[str, Any]] = {
        "architecture and index": {"image_arch": ["arm64"], "copy_image_index": True},
        "two architectures": {"image_arch": ["arm64", "amd64"]},
        "architecture and platforms": {"image_arch": ["arm64"], "platforms": ["linux/amd64"]},
        "tags without index": {"arch_image_tags": {"amd64": "1"}},
        "string for a list": {"platforms": "all"},
        "string for tags": {"tags": "stable"},
        "not a tag": {"tags": ["a b"]},
        "unknown choice": {"on_delete": "Delete"},
        "unknown compression": {"compression": "brotli"},
        "unknown key": {"retry_configs": {"attempts": 3}},
        "unknown repository key": {"create_repository": {"Scan": True}},
        "all and one": {"platforms": ["all", "linux/amd64"]},
        "function that exists": {
            "service_token": "arn:aws:lambda:eu-west-1:123456789012:function:f",
            "memory_limit": 1024,
        },
    }
    errors: dict[str, str] = {}
    name = ours.DockerImageName("nginx:latest")
    for number, (what, options) in enumerate(contradictions.items()):
        stack = cdk.Stack(cdk.App(), f"Invalid{number}")
        try:
            ours.ECRDeployment(stack, "Image", src=name, dest=name, **options)
        except ValueError as error:
            errors[what] = str(error)
    return errors


def main(directory: Path) -> None:
    """Synthesize all stacks."""
    sources = directory / "sources"
    image_directory = sources / "docker"
    image_directory.mkdir(parents=True)
    (image_directory / "Dockerfile").write_text("FROM scratch\n")
    tarball = sources / "image.tar"
    tarball.write_bytes(b"\0" * 1024)

    # one app builds shared assets once
    app = build(outdir=str(directory), analytics_reporting=False)
    add_peers_usages(cdk.Stack(app, "Peer"), peer, str(image_directory))
    add_peers_usages(cdk.Stack(app, "Moved"), ours, str(image_directory))
    OwnUsages(app, "Own", str(tarball))
    add_stages(app)
    app.synth()
    (directory / "validation-errors.json").write_text(json.dumps(validation_errors()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
