"""Where the function is: in a stack that the stacks of a stage and environment share.

The shared stack refers to no other stack, so no dependency can lead back to it. What a deployment
needs is granted by a policy in the deployment's own stack.
"""

from __future__ import annotations

from typing import Final

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import IConstruct

#: In cdk.json: the name of the shared stack within its stage.
STACK_CONTEXT: Final = "ecr-replicator:stack"
_SUFFIX: Final = "EcrImageReplicator"


def shared_stack(stack: cdk.Stack) -> cdk.Stack:
    """Return the stack that has the functions of a stage and environment.

    It is created on first use.

    Parameters
    ----------
    stack
        A stack with a deployment.
    """
    stage = cdk.Stage.of(stack)
    if stage is None:
        return stack
    construct_id = "-".join([_name(stage, stack), *_environment(stack)])
    existing = stage.node.try_find_child(construct_id)
    if isinstance(existing, cdk.Stack):
        return existing
    return cdk.Stack(
        stage,
        construct_id,
        env=cdk.Environment(
            account=None if cdk.Token.is_unresolved(stack.account) else stack.account,
            region=None if cdk.Token.is_unresolved(stack.region) else stack.region,
        ),
        description="The function that copies container images for the other stacks.",
    )


def grantee(stack: cdk.Stack, function: lambda_.Function) -> iam.IGrantable:
    """Return what is granted permissions for the function.

    Parameters
    ----------
    stack
        The deployment's stack. If the function is in another one, the permissions become a policy
        of this stack, attached to the function's role.
    """
    if cdk.Stack.of(function).node.addr == stack.node.addr:
        return function
    # unique beyond the stack: the policy is named after it, and the role has those of all stacks
    construct_id = f"{function.node.id}Grants{stack.node.addr[-8:]}"
    existing = stack.node.try_find_child(construct_id)
    if existing is not None:
        return existing
    role = function.role
    assert role is not None, "a function has a role"  # noqa: S101 - of the CDK's interface
    return iam.Role.from_role_name(stack, construct_id, role.role_name)


def _name(stage: IConstruct, stack: cdk.Stack) -> str:
    """Return the shared stack's name without its environment.

    Two apps may be deployed to one environment, so the name begins with that of the stage's first
    stack, which is unique there.
    """
    named = stage.node.try_get_context(STACK_CONTEXT)
    if named:
        return str(named)
    children = stage.node.children
    first = next((each for each in children if cdk.Stack.is_stack(each)), stack)
    return f"{first.node.id}-{_SUFFIX}"


def _environment(stack: cdk.Stack) -> list[str]:
    """Return the parts of an environment that are known before deployment."""
    parts = (stack.account, stack.region)
    return [each for each in parts if not cdk.Token.is_unresolved(each)]
