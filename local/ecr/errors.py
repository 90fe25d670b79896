"""ECR's errors, with the same messages in its API and its registry (ECR API Reference)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence

from local.web import Response


class EcrError(Exception):
    """An error of ECR's API: AWS JSON 1.1 with `__type`, status 400 by default."""

    def __init__(self, code: str, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status

    def response(self) -> Response:
        """Return the response for an AWS SDK."""
        body = {"__type": self.code, "message": self.message}
        return json_response(body, self.status)


class AccessDeniedError(EcrError):
    """The caller lacks a permission; the API and the registry send the same message.

    `kind` is the kind of policy: identity-based or resource-based.
    """

    def __init__(
        self,
        caller_arn: str,
        action: str,
        resource: str,
        *,
        kind: str = "identity-based",
        is_explicit: bool = False,
    ) -> None:
        because = (
            f"with an explicit deny in an {kind} policy"
            if is_explicit
            else f"because no {kind} policy allows the {action} action"
        )
        super().__init__(
            "AccessDeniedException",
            f"User: {caller_arn} is not authorized to perform: {action} on resource: {resource} "
            f"{because}",
        )
        self.action = action


def json_response(document: object, status: int = 200) -> Response:
    """Return a response in AWS JSON 1.1."""
    headers = {
        "Content-Type": "application/x-amz-json-1.1",
        "x-amzn-RequestId": str(uuid.uuid4()),
    }
    return Response(status, headers, json.dumps(document).encode())


def repository_not_found(repository: str, account: str) -> EcrError:
    """Return RepositoryNotFoundException."""
    return EcrError(
        "RepositoryNotFoundException",
        f"The repository with name '{repository}' does not exist in the registry with id "
        f"'{account}'",
    )


def invalid_parameter(name: str, constraint: str) -> EcrError:
    """Return InvalidParameterException."""
    return EcrError(
        "InvalidParameterException",
        f"Invalid parameter at '{name}' failed to satisfy constraint: '{constraint}'",
    )


def references_not_found(
    kind: str, digests: Sequence[str], repository: str, account: str
) -> EcrError:
    """Return LayersNotFoundException or ReferencedImagesNotFoundException, starting with `kind`."""
    code = "LayersNotFoundException" if kind == "Layers" else "ReferencedImagesNotFoundException"
    return EcrError(
        code,
        f"{kind} with digests '[{', '.join(digests)}]' required for pushing image into repository "
        f"with name '{repository}' in the registry with id '{account}' do not exist",
    )
