"""The Lambda function behind the construct.

An installed package contains the built function and layer. In this repository they are built from
`handler` and `layers` with the Makefiles that `sam build` uses; Docker is not needed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_destinations as destinations
from aws_cdk import aws_logs as logs

from ecr_replicator.assets import function_code, layer_code
from ecr_replicator.options import check_strings
from ecr_replicator.sharing import shared_stack

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aws_cdk import aws_ec2 as ec2

_DEFAULT_MEMORY_MEBIBYTES: Final = 512
_RESPONDER: Final = "EcrImageReplicatorResponder"
_CA_BUNDLE: Final = "/opt/ca-bundle.pem"


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSettings:
    """Settings of the function, with the meaning of the template's parameters.

    Attributes
    ----------
    https_proxy, no_proxy
        The proxy for registries and AWS, and the hosts that bypass it.
    ca_bundle_layer
        A layer with ``ca-bundle.pem``: certificate authorities to trust.
    default_platforms
        The platforms copied from an index when a deployment names none.
    plain_http_registries
        Registries to access over plain HTTP, ``host`` or ``host:port``.
    allowed_source_hosts, allowed_destinations
        Where images may come from and go to; everywhere if empty.
    architecture
        The function's architecture.
    timeout
        The time limit of one invocation.
    log_retention
        How long log events are kept.
    log_level
        ``INFO``, ``DEBUG``, ``WARNING`` or ``ERROR``.
    is_shared
        Whether the stacks of a stage and environment share the function; otherwise it is created
        in the deployment's own stack.

    Raises
    ------
    ValueError
        A string is given where a list is expected.
    """

    https_proxy: str | None = None
    no_proxy: Sequence[str] = ()
    ca_bundle_layer: lambda_.ILayerVersion | None = None
    default_platforms: Sequence[str] = ()
    plain_http_registries: Sequence[str] = ()
    allowed_source_hosts: Sequence[str] = ()
    allowed_destinations: Sequence[str] = ()
    architecture: lambda_.Architecture = lambda_.Architecture.ARM_64
    timeout: cdk.Duration = field(default_factory=lambda: cdk.Duration.minutes(15))
    log_retention: logs.RetentionDays = logs.RetentionDays.ONE_MONTH
    log_level: str = "INFO"
    is_shared: bool = True

    def __post_init__(self) -> None:
        for name in (
            "no_proxy",
            "default_platforms",
            "plain_http_registries",
            "allowed_source_hosts",
            "allowed_destinations",
        ):
            check_strings(name, getattr(self, name))

    def environment(self) -> dict[str, str]:
        """Return the function's environment variables."""
        bundle = _CA_BUNDLE if self.ca_bundle_layer else ""
        variables = {
            "HTTPS_PROXY": self.https_proxy or "",
            "NO_PROXY": ",".join(self.no_proxy),
            "SSL_CERT_FILE": bundle,
            "REQUESTS_CA_BUNDLE": bundle,
            "AWS_CA_BUNDLE": bundle,
            "DEFAULT_PLATFORMS": ",".join(self.default_platforms),
            "PLAIN_HTTP_REGISTRIES": ",".join(self.plain_http_registries),
            "ALLOWED_SOURCE_HOSTS": ",".join(self.allowed_source_hosts),
            "ALLOWED_DESTINATIONS": ",".join(self.allowed_destinations),
            "POWERTOOLS_LOG_LEVEL": self.log_level,
        }
        return {name: value for name, value in variables.items() if value}

    @property
    def key(self) -> str:
        """A text that is equal for equal settings."""
        layer = self.ca_bundle_layer.node.addr if self.ca_bundle_layer else ""
        parts = (
            sorted(self.environment().items()),
            layer,
            self.architecture.name,
            self.timeout.to_seconds(),
            str(self.log_retention),
        )
        return repr(parts)


@dataclass(frozen=True, slots=True)
class FunctionOptions:
    """The options of one function; equal options share a function.

    Attributes
    ----------
    memory_mebibytes
        None for 512.
    role
        The function's role; None creates one.
    vpc, vpc_subnets, security_groups
        The function's network; None for no VPC.
    settings
        Everything else.
    """

    memory_mebibytes: int | None = None
    role: iam.IRole | None = None
    vpc: ec2.IVpc | None = None
    vpc_subnets: ec2.SubnetSelection | None = None
    security_groups: tuple[ec2.ISecurityGroup, ...] = ()
    settings: FunctionSettings = field(default_factory=FunctionSettings)

    @property
    def construct_id(self) -> str:
        """The function's name in its stack."""
        is_default = self._parts() == FunctionOptions()._parts()  # noqa: SLF001 - the same class
        key = hashlib.sha256(repr(self._parts()).encode()).hexdigest()[:8]
        return "EcrImageReplicator" + ("" if is_default else key)

    @property
    def is_shared(self) -> bool:
        """Whether other stacks may use the function.

        A role, network or layer belongs to a stack that may use the function itself, so a function
        with one stays in the deployment's own stack: dependencies between stacks have no cycles.
        """
        belongs_to_stack = (
            self.role,
            self.vpc,
            self.vpc_subnets,
            self.security_groups,
            self.settings.ca_bundle_layer,
        )
        return self.settings.is_shared and not any(belongs_to_stack)

    def _parts(self) -> list[object]:
        return [
            self.memory_mebibytes or _DEFAULT_MEMORY_MEBIBYTES,
            self.role.node.addr if self.role else "",
            self.vpc.node.addr if self.vpc else "",
            _describe(self.vpc_subnets),
            [group.node.addr for group in self.security_groups],
            self.settings.key,
        ]


def share_function(scope: cdk.Stack, options: FunctionOptions) -> lambda_.Function:
    """Return the function with these options; it is created on first use."""
    stack = shared_stack(scope) if options.is_shared else scope
    existing = stack.node.try_find_child(options.construct_id)
    if isinstance(existing, lambda_.Function):
        return existing
    return _create_function(stack, options)


def _create_function(stack: cdk.Stack, options: FunctionOptions) -> lambda_.Function:
    settings = options.settings
    log_group = _create_log_group(stack, options.construct_id, settings.log_retention)
    role = _prepare_role(stack, options, log_group)
    layers = [_share_layer(stack, settings.architecture)]
    if settings.ca_bundle_layer is not None:
        layers.append(settings.ca_bundle_layer)
    function = lambda_.Function(
        stack,
        options.construct_id,
        description="Puts container images into repositories for CloudFormation stacks.",
        code=function_code("build-ReplicatorFunction"),
        handler="app.lambda_handler",
        runtime=lambda_.Runtime.PYTHON_3_13,
        architecture=settings.architecture,
        layers=layers,
        timeout=settings.timeout,
        memory_size=options.memory_mebibytes or _DEFAULT_MEMORY_MEBIBYTES,
        environment=_environment(stack, options),
        log_group=log_group,
        role=role,
        vpc=options.vpc,
        vpc_subnets=options.vpc_subnets,
        security_groups=list(options.security_groups) or None,
        # each request gets one response: the engine retries within one invocation, and the
        # responder responds for an invocation that was killed
        retry_attempts=0,
        max_event_age=cdk.Duration.hours(1),
        on_failure=destinations.LambdaDestination(
            _share_responder(stack, settings.architecture, settings.log_retention)
        ),
    )
    # a policy of its own: it names the function, which depends on the role
    iam.Policy(
        stack,
        f"{options.construct_id}Continuation",
        roles=[role],
        statements=[
            iam.PolicyStatement(
                actions=["lambda:InvokeFunction"], resources=[function.function_arn]
            )
        ],
    )
    return function


def _environment(stack: cdk.Stack, options: FunctionOptions) -> Mapping[str, str]:
    # the dimension of the metrics, which distinguishes an account's functions
    service = f"{stack.stack_name}-{options.construct_id}"
    return {"POWERTOOLS_SERVICE_NAME": service, **options.settings.environment()}


def _share_responder(
    stack: cdk.Stack, architecture: lambda_.Architecture, retention: logs.RetentionDays
) -> lambda_.Function:
    """Return the function that responds when another one of the stack was killed."""
    existing = stack.node.try_find_child(_RESPONDER)
    if isinstance(existing, lambda_.Function):
        return existing
    log_group = _create_log_group(stack, _RESPONDER, retention)
    role = iam.Role(
        stack,
        f"{_RESPONDER}Role",
        assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
        description="The role of the image replicator's failure responder.",
    )
    log_group.grant_write(role)
    return lambda_.Function(
        stack,
        _RESPONDER,
        description="Responds to CloudFormation when the image replicator was killed.",
        code=function_code("build-ResponderFunction"),
        handler="responder.lambda_handler",
        runtime=lambda_.Runtime.PYTHON_3_13,
        architecture=architecture,
        timeout=cdk.Duration.minutes(1),
        memory_size=128,
        log_group=log_group,
        role=role,
        # if CloudFormation does not accept the response, Lambda retries a minute later
        retry_attempts=2,
        max_event_age=cdk.Duration.hours(1),
    )


def _create_log_group(
    stack: cdk.Stack, construct_id: str, retention: logs.RetentionDays
) -> logs.LogGroup:
    return logs.LogGroup(
        stack,
        f"{construct_id}Logs",
        retention=retention,
        removal_policy=cdk.RemovalPolicy.DESTROY,
    )


def _prepare_role(
    stack: cdk.Stack, options: FunctionOptions, log_group: logs.ILogGroup
) -> iam.IRole:
    """Grant the given role, or a new one, what every function needs."""
    role = options.role or iam.Role(
        stack,
        f"{options.construct_id}Role",
        assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
        description="The role of the image replicator's function.",
    )
    log_group.grant_write(role)
    if options.vpc is not None:
        role.add_managed_policy(
            iam.ManagedPolicy.from_aws_managed_policy_name(
                "service-role/AWSLambdaVPCAccessExecutionRole"
            )
        )
    return role


def _share_layer(stack: cdk.Stack, architecture: lambda_.Architecture) -> lambda_.ILayerVersion:
    is_default = architecture.name == lambda_.Architecture.ARM_64.name
    construct_id = "EcrImageReplicatorDependencies" + ("" if is_default else architecture.name)
    existing = stack.node.try_find_child(construct_id)
    if isinstance(existing, lambda_.LayerVersion):
        return existing
    return lambda_.LayerVersion(
        stack,
        construct_id,
        description="The packages that the image replicator imports.",
        code=layer_code(architecture),
        compatible_architectures=[architecture],
        compatible_runtimes=[lambda_.Runtime.PYTHON_3_13],
    )


def _describe(subnets: ec2.SubnetSelection | None) -> list[str]:
    """Describe a selection of subnets, equally in every run."""
    if subnets is None:
        return []
    return [
        str(subnets.subnet_type),
        str(subnets.subnet_group_name),
        str(subnets.one_per_az),
        *(subnets.availability_zones or ()),
        *(subnet.node.addr for subnet in subnets.subnets or ()),
    ]
