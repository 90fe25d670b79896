"""ECR's API: AWS JSON 1.1, one POST per call with the operation in X-Amz-Target."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from local.ecr import account_operations, image_operations, layer_operations, repository_operations
from local.ecr.callers import Caller, CallerLookup, parse_signature
from local.ecr.errors import EcrError, json_response
from local.ecr.hosts import parse_api_host
from local.ecr.registry import ApiCall, EcrRegistry
from local.ecr.tokens import AuthorizationTokens
from local.web import OversizedBodyError, Request, Response, read_body

_TARGET = "AmazonEC2ContainerRegistry_V20150921."
_BODY_LIMIT_BYTES = 1024 * 1024

_Operation = Callable[[EcrRegistry, Mapping[str, Any]], dict[str, Any]]

_REPOSITORY_OPERATIONS: dict[str, _Operation] = {
    "BatchCheckLayerAvailability": layer_operations.batch_check_layer_availability,
    "BatchDeleteImage": image_operations.batch_delete_image,
    "BatchGetImage": image_operations.batch_get_image,
    "CreateRepository": repository_operations.create_repository,
    "DescribeImages": image_operations.describe_images,
    "ListImages": image_operations.list_images,
    "ListImageReferrers": image_operations.list_image_referrers,
    "PutLifecyclePolicy": repository_operations.put_lifecycle_policy,
    "SetRepositoryPolicy": repository_operations.set_repository_policy,
    "TagResource": repository_operations.tag_resource,
}
_OPERATIONS: dict[str, _Operation] = {
    **_REPOSITORY_OPERATIONS,
    "DescribeRepositories": repository_operations.describe_repositories,
    "GetAccountSetting": account_operations.get_account_setting,
    "PutAccountSetting": account_operations.put_account_setting,
}
OPERATIONS = frozenset({*_OPERATIONS, "GetAuthorizationToken"})
"""The operations that are implemented here."""


class ControlPlane:
    """The API of the region that the host names.

    `find_caller` returns the principal of an access key. `registry` returns an account's registry
    in a region. Signatures are not verified.
    """

    def __init__(
        self,
        tokens: AuthorizationTokens,
        find_caller: CallerLookup,
        registry: Callable[[str, str], EcrRegistry],
    ) -> None:
        self._tokens = tokens
        self._find_caller = find_caller
        self._registry = registry

    def __call__(self, request: Request) -> Response:
        """Respond to one call."""
        try:
            return json_response(self._respond(request))
        except EcrError as error:
            return error.response()

    def _respond(self, request: Request) -> dict[str, Any]:
        region = parse_api_host(request.headers.get("host", "").partition(":")[0]) or ""
        caller = authenticate(request, region, "ecr", self._find_caller)
        target = request.headers.get("x-amz-target", "")
        operation = target.removeprefix(_TARGET)
        parameters = read_parameters(request)
        if operation == target or operation not in OPERATIONS:
            raise EcrError("UnknownOperationException", f"no such operation: {target}", status=404)
        registry = self._registry(_registry_id(operation, parameters, caller), region)
        error: str | None = None
        try:
            return self._perform(operation, parameters, caller, registry)
        except EcrError as failure:
            error = failure.code
            raise
        finally:
            registry.record(ApiCall(operation, parameters, caller, error))

    def _perform(
        self, operation: str, parameters: Mapping[str, Any], caller: Caller, registry: EcrRegistry
    ) -> dict[str, Any]:
        action = f"ecr:{operation}"
        if registry.take_throttling(action):
            raise EcrError("ThrottlingException", "Rate exceeded")
        if operation == "GetAuthorizationToken":
            registry.permit(caller, action)
            return account_operations.get_authorization_token(
                registry, parameters, caller, self._tokens
            )
        for repository in _repositories(operation, parameters):
            registry.permit(caller, action, repository)
        if operation == "CreateRepository":
            _permit_settings(registry, caller, parameters)
        return _OPERATIONS[operation](registry, parameters)


def authenticate(request: Request, region: str, service: str, find_caller: CallerLookup) -> Caller:
    """Return the caller of a signed call.

    Raises
    ------
    EcrError
        The call is unsigned, signed for another region or service, or with an unknown key.
    """
    signature = parse_signature(request.headers.get("authorization"))
    if signature is None:
        raise EcrError("MissingAuthenticationTokenException", "Missing Authentication Token")
    if signature.region != region or signature.service != service:
        raise EcrError(
            "InvalidSignatureException",
            f"Credential should be scoped to a valid region: {region}, for {service}.",
        )
    caller = find_caller(signature.access_key_id)
    if caller is None:
        raise EcrError(
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
        )
    return caller


def read_parameters(request: Request) -> Mapping[str, Any]:
    """Return a call's JSON object.

    Raises
    ------
    EcrError
        SerializationException.
    """
    try:
        parameters = json.loads(read_body(request, _BODY_LIMIT_BYTES) or b"{}")
    except (OversizedBodyError, ValueError) as error:
        raise EcrError("SerializationException", str(error)) from error
    if request.method != "POST" or not isinstance(parameters, dict):
        raise EcrError("SerializationException", "a call is a POST of a JSON object")
    return parameters


def _registry_id(operation: str, parameters: Mapping[str, Any], caller: Caller) -> str:
    if operation == "TagResource":
        return str(parameters.get("resourceArn", "")).split(":")[4:5].pop() or caller.account
    return str(parameters.get("registryId") or caller.account)


def _repositories(operation: str, parameters: Mapping[str, Any]) -> list[str | None]:
    """Return the repositories that require a permission, None for `*`."""
    if operation == "DescribeRepositories":
        return list(parameters.get("repositoryNames") or [None])
    if operation == "TagResource":
        return [str(parameters.get("resourceArn")).partition(":repository/")[2]]
    if operation in _REPOSITORY_OPERATIONS:
        return [str(parameters.get("repositoryName"))]
    return [None]


def _permit_settings(registry: EcrRegistry, caller: Caller, parameters: Mapping[str, Any]) -> None:
    """Check the permissions that tags and a customer managed key need (ECR User Guide)."""
    repository = str(parameters.get("repositoryName"))
    if parameters.get("tags"):
        registry.permit(caller, "ecr:TagResource", repository)
    key = str((parameters.get("encryptionConfiguration") or {}).get("kmsKey") or "")
    if key.startswith("arn:") and ":key/" in key:
        via = {"kms:ViaService": f"ecr.{registry.region}.amazonaws.com"}
        for action in ("kms:DescribeKey", "kms:CreateGrant"):
            registry.permit(caller, action, resource=key, context=via)
