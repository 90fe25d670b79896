"""An AWS account of moto where templates can be deployed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import boto3
from tests.moto_server import running_moto

REGION = "eu-west-1"
ACCOUNT = "123456789012"


class MotoAccount:
    """An account whose services have one URL."""

    def __init__(self, url: str) -> None:
        self._url = url

    def client(self, service: Any) -> Any:
        return boto3.client(
            service,
            endpoint_url=self._url,
            region_name=REGION,
            aws_access_key_id="tests",
            aws_secret_access_key="tests",
        )

    def create_stack(
        self, name: str, template: str, parameters: Mapping[str, str]
    ) -> dict[str, str]:
        """Create a stack and return its outputs."""
        formation = self.client("cloudformation")
        formation.create_stack(
            StackName=name,
            TemplateBody=template,
            Parameters=[
                {"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()
            ],
            Capabilities=["CAPABILITY_IAM"],
        )
        (stack,) = formation.describe_stacks(StackName=name)["Stacks"]
        assert stack["StackStatus"] == "CREATE_COMPLETE"
        return {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}


@contextmanager
def open_account() -> Iterator[MotoAccount]:
    """Open an empty account. A process can have only one at a time."""
    with running_moto() as url:
        yield MotoAccount(url)
