"""Refusals of ECR's, worded alike by its API and its registry (ECR API Reference, "Errors")."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence

from local.web import Response


class EcrError(Exception):
    """A refusal of ECR's API: AWS JSON 1.1 with `__type`, 400 unless another status is given."""

    def __init__(self, code: str, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status

    def response(self) -> Response:
        """Return the answer that an AWS SDK reads."""
        body = {"__type": self.code, "message": self.message}
        return json_response(body, self.status)


class AccessDeniedError(EcrError):
    """The caller may not do that; answered alike by both planes."""

    def __init__(self, caller_arn: str, action: str, resource: str, because: str) -> None:
        super().__init__(
            "AccessDeniedException",
            f"User: {caller_arn} is not authorized to perform: {action} on resource: {resource} "
            f"because no {because} policy allows the {action} action",
        )
        self.action = action


def json_response(document: object, status: int = 200) -> Response:
    """Return an answer in AWS JSON 1.1."""
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
    """Return LayersNotFoundException or ReferencedImagesNotFoundException; `kind` leads it."""
    code = "LayersNotFoundException" if kind == "Layers" else "ReferencedImagesNotFoundException"
    return EcrError(
        code,
        f"{kind} with digests '[{', '.join(digests)}]' required for pushing image into repository "
        f"with name '{repository}' in the registry with id '{account}' do not exist",
    )
