"""Images that a stack needs, put into its own repository before what runs them is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_ecr_assets as ecr_assets
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from ecr_replicator import DockerImageName, ECRDeployment

_HERE = Path(__file__).resolve().parent


class ReplicatedImages(cdk.Stack):
    """A service of ECS and a function of Lambda, both of images by digest."""

    def __init__(self, scope: Construct, construct_id: str, **options: Any) -> None:
        super().__init__(scope, construct_id, **options)
        self._add_service()
        self._add_function()

    def _add_service(self) -> None:
        """Run what CDK builds from `web/`, and a sidecar of Docker Hub's for both architectures."""
        repository = ecr.Repository(
            self,
            "Web",
            image_tag_mutability=ecr.TagMutability.IMMUTABLE,
            removal_policy=cdk.RemovalPolicy.DESTROY,
            empty_on_delete=True,
        )
        asset = ecr_assets.DockerImageAsset(
            self, "WebAsset", directory=str(_HERE / "web"), platform=ecr_assets.Platform.LINUX_ARM64
        )
        web = ECRDeployment(
            self,
            "WebImage",
            src=asset,
            dest=DockerImageName.from_repository(repository, "1.0"),
            tags=["released"],
        )
        login = secretsmanager.Secret.from_secret_name_v2(self, "Login", "docker-hub/login")
        proxy = ECRDeployment(
            self,
            "ProxyImage",
            src=DockerImageName("envoyproxy/envoy:v1.36.2", login),
            dest=DockerImageName.from_repository(repository, "envoy-1.36.2"),
            platforms=["linux/arm64"],
        )
        task = ecs.FargateTaskDefinition(
            self,
            "Task",
            runtime_platform=ecs.RuntimePlatform(
                cpu_architecture=ecs.CpuArchitecture.ARM64,
                operating_system_family=ecs.OperatingSystemFamily.LINUX,
            ),
        )
        task.add_container("web", image=web.image)
        task.add_container("proxy", image=proxy.image)
        vpc = ec2.Vpc(self, "Network", max_azs=2, nat_gateways=1)
        ecs.FargateService(
            self,
            "Service",
            cluster=ecs.Cluster(self, "Cluster", vpc=vpc),
            task_definition=task,
            min_healthy_percent=100,
        )

    def _add_function(self) -> None:
        """Run an image of ECR Public, which Lambda itself cannot take from there."""
        repository = ecr.Repository(
            self, "Jobs", removal_policy=cdk.RemovalPolicy.DESTROY, empty_on_delete=True
        )
        jobs = ECRDeployment(
            self,
            "JobsImage",
            src=DockerImageName("public.ecr.aws/lambda/python:3.13"),
            dest=DockerImageName.from_repository(repository, "3.13"),
            image_arch=["arm64"],
        )
        lambda_.DockerImageFunction(
            self, "JobsFunction", code=jobs.image_code, architecture=lambda_.Architecture.ARM_64
        )
        cdk.CfnOutput(self, "JobsImageUri", value=jobs.image_uri)


def build(**options: Any) -> cdk.App:
    """Make the app, ready for its synthesis."""
    app = cdk.App(**options)
    # by this `sam local invoke -t` finds the code; the CDK's command line sets it by itself
    app.node.set_context("aws:cdk:enable-asset-metadata", True)
    ReplicatedImages(app, "ReplicatedImages")
    return app
