"""The Lambda function behind the construct, built from this repository's handler and layer.

Docker is not needed: the Makefiles that SAM runs build both.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aws_cdk as cdk
import jsii
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_destinations as destinations
from aws_cdk import aws_logs as logs

if TYPE_CHECKING:
    from aws_cdk import aws_ec2 as ec2
    from constructs import Construct

#: Where `handler/` and `layers/` are.
_SOURCES: Final = Path(__file__).resolve().parents[3]
_ARCHITECTURE: Final = lambda_.Architecture.ARM_64
_DEFAULT_MEMORY_MEBIBYTES: Final = 512
_RESPONDER: Final = "EcrImageReplicatorResponder"


@dataclass(frozen=True, slots=True)
class FunctionOptions:
    """What a user of the construct may choose; equal choices share a function.

    Attributes
    ----------
    memory_mebibytes
        None for 512.
    role
        What the function runs as; None for one that it alone has.
    vpc, vpc_subnets, security_groups
        Where the function's network interfaces are; None for Lambda's own network.
    """

    memory_mebibytes: int | None = None
    role: iam.IRole | None = None
    vpc: ec2.IVpc | None = None
    vpc_subnets: ec2.SubnetSelection | None = None
    security_groups: tuple[ec2.ISecurityGroup, ...] = ()

    @property
    def _key(self) -> str:
        parts = [
            self.memory_mebibytes or _DEFAULT_MEMORY_MEBIBYTES,
            self.role.node.addr if self.role else "",
            self.vpc.node.addr if self.vpc else "",
            _described(self.vpc_subnets),
            *(group.node.addr for group in self.security_groups),
        ]
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:8]

    @property
    def construct_id(self) -> str:
        """Name the function within its stack."""
        return "EcrImageReplicator" + ("" if self == FunctionOptions() else self._key)


def share_function(scope: Construct, options: FunctionOptions) -> lambda_.Function:
    """Return the stack's function with these options; it is created on first use."""
    stack = cdk.Stack.of(scope)
    existing = stack.node.try_find_child(options.construct_id)
    if isinstance(existing, lambda_.Function):
        return existing
    return _make_function(stack, options)


def _make_function(stack: cdk.Stack, options: FunctionOptions) -> lambda_.Function:
    log_group = logs.LogGroup(
        stack,
        f"{options.construct_id}Logs",
        retention=logs.RetentionDays.ONE_MONTH,
        removal_policy=cdk.RemovalPolicy.DESTROY,
    )
    role = _prepare_role(stack, options, log_group)
    function = lambda_.Function(
        stack,
        options.construct_id,
        description="Puts container images into repositories for CloudFormation stacks.",
        code=_handler_code("build-ReplicatorFunction"),
        handler="app.lambda_handler",
        runtime=lambda_.Runtime.PYTHON_3_13,
        architecture=_ARCHITECTURE,
        layers=[_share_layer(stack)],
        timeout=cdk.Duration.minutes(15),
        memory_size=options.memory_mebibytes or _DEFAULT_MEMORY_MEBIBYTES,
        # the dimension of the metrics: several functions of an account are told apart by it
        environment={"POWERTOOLS_SERVICE_NAME": f"{stack.stack_name}-{options.construct_id}"},
        log_group=log_group,
        role=role,
        vpc=options.vpc,
        vpc_subnets=options.vpc_subnets,
        security_groups=list(options.security_groups) or None,
        # each request gets one response: the engine retries within one invocation, and the
        # responder responds for an invocation that was killed
        retry_attempts=0,
        max_event_age=cdk.Duration.hours(1),
        on_failure=destinations.LambdaDestination(_share_responder(stack)),
    )
    # a policy of its own, since it names the function, which needs the role
    iam.Policy(
        stack,
        f"{options.construct_id}Continuation",
        roles=[role],
        statements=[
            iam.PolicyStatement(
                actions=["lambda:InvokeFunction"],
                resources=[function.function_arn],
            )
        ],
    )
    return function


def _share_responder(stack: cdk.Stack) -> lambda_.Function:
    """Give the function that answers for the others of the stack when those were killed."""
    there = stack.node.try_find_child(_RESPONDER)
    if isinstance(there, lambda_.Function):
        return there
    log_group = logs.LogGroup(
        stack,
        f"{_RESPONDER}Logs",
        retention=logs.RetentionDays.ONE_MONTH,
        removal_policy=cdk.RemovalPolicy.DESTROY,
    )
    role = iam.Role(
        stack,
        f"{_RESPONDER}Role",
        assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
        description="What the image replicator's failure responder may do.",
    )
    log_group.grant_write(role)
    return lambda_.Function(
        stack,
        _RESPONDER,
        description="Answers stacks for the image replicator when that was killed.",
        code=_handler_code("build-ResponderFunction"),
        handler="responder.lambda_handler",
        runtime=lambda_.Runtime.PYTHON_3_13,
        architecture=_ARCHITECTURE,
        timeout=cdk.Duration.minutes(1),
        memory_size=128,
        log_group=log_group,
        role=role,
        # CloudFormation did not take the answer: it may a minute later
        retry_attempts=2,
        max_event_age=cdk.Duration.hours(1),
    )


def _handler_code(target: str) -> lambda_.Code:
    return lambda_.Code.from_asset(
        str(_SOURCES / "handler"),
        exclude=["__pycache__/"],
        ignore_mode=cdk.IgnoreMode.GIT,
        bundling=_bundling(_SOURCES / "handler", "Makefile", target),
    )


def _prepare_role(
    stack: cdk.Stack, options: FunctionOptions, log_group: logs.ILogGroup
) -> iam.IRole:
    """Give the role that the user chose, or a new one, what every function needs."""
    role = options.role or iam.Role(
        stack,
        f"{options.construct_id}Role",
        assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
        description="What the image replicator's function may do.",
    )
    log_group.grant_write(role)
    if options.vpc is not None:
        role.add_managed_policy(
            iam.ManagedPolicy.from_aws_managed_policy_name(
                "service-role/AWSLambdaVPCAccessExecutionRole"
            )
        )
    return role


def _share_layer(stack: cdk.Stack) -> lambda_.ILayerVersion:
    construct_id = "EcrImageReplicatorDependencies"
    there = stack.node.try_find_child(construct_id)
    if isinstance(there, lambda_.LayerVersion):
        return there
    directory = _SOURCES / "layers" / "dependencies"
    return lambda_.LayerVersion(
        stack,
        construct_id,
        description="What the image replicator imports beside its own code.",
        code=lambda_.Code.from_asset(
            str(directory),
            bundling=_bundling(
                directory, f"{_ARCHITECTURE.name}/Makefile", "build-DependenciesLayer"
            ),
        ),
        compatible_architectures=[_ARCHITECTURE],
        compatible_runtimes=[lambda_.Runtime.PYTHON_3_13],
    )


def _bundling(directory: Path, makefile: str, target: str) -> cdk.BundlingOptions:
    """Build as SAM does; the asset's hash is that of its sources, and of this command."""
    command = ["make", "--silent", "--file", makefile, target]
    return cdk.BundlingOptions(
        # asks for Docker only if the local build declines, which it never does
        image=lambda_.Runtime.PYTHON_3_13.bundling_image,
        command=[*command, "ARTIFACTS_DIR=/asset-output"],
        local=_LocalBuild(directory, command),
    )


@jsii.implements(cdk.ILocalBundling)
class _LocalBuild:
    """Runs a command on this machine."""

    def __init__(self, directory: Path, command: list[str]) -> None:
        self._directory = directory
        self._command = command

    def try_bundle(self, output_dir: str, *_: Any, **__: Any) -> bool:
        """Build into a directory; a failure ends the synthesis, with the command's own words."""
        subprocess.run(  # noqa: S603 - the command is written above
            [*self._command, f"ARTIFACTS_DIR={output_dir}"],
            cwd=self._directory,
            stdout=sys.stderr,
            check=True,
        )
        return True


def _described(subnets: ec2.SubnetSelection | None) -> list[str]:
    """Say which subnets are meant, the same in every run."""
    if subnets is None:
        return []
    return [
        str(subnets.subnet_type),
        str(subnets.subnet_group_name),
        str(subnets.one_per_az),
        *(subnets.availability_zones or ()),
        *(subnet.node.addr for subnet in subnets.subnets or ()),
    ]
