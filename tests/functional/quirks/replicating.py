"""A copy of one image between two registries, and the check of its result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from local.images import Content
from local.registry import (
    RegistryServer,
)
from tests.functional.conftest import Function

Start = Callable[..., RegistryServer]
LOGIN = {"robot": "correct-horse"}
CREDENTIALS = "robot:correct-horse"


def replicate(
    function: Function, source: RegistryServer, destination: RegistryServer, **properties: Any
) -> dict[str, Any]:
    return function.create(
        f"{source.host}/team/app:1", f"{destination.host}/mirror/app:1", **properties
    )


def check_copy(response: dict[str, Any], destination: RegistryServer, content: Content) -> None:
    assert response["Status"] == "SUCCESS", response["Reason"]
    assert destination.store.tags("mirror/app")["1"] == content.digest
    assert destination.store.open_uploads == ()
