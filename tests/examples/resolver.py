"""CloudFormation's intrinsic functions and deployment order, as far as the examples use them.

Unsupported functions raise an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from cfnlint.decode import cfn_yaml

ACCOUNT: Final = "123456789012"
_NOTHING: Final = object()
_REFERENCE: Final = re.compile(r"\$\{(!?)([^}]+)\}")
_URL_SUFFIX: Final = "amazonaws.com"
#: Resource types to create. All other types only have a name.
_CREATED_TYPES: Final = frozenset({"AWS::ECR::Repository", "AWS::SecretsManager::Secret"})


class ResourceProvider(Protocol):
    """A provider that creates the resources of a stack."""

    def deploy(self, properties: Mapping[str, Any]) -> Mapping[str, Any]:
        """Create a custom resource with these properties and return the response."""

    def create(self, kind: str, name: str, properties: Mapping[str, Any], region: str) -> str:
        """Create a resource of another type and return the value of its Ref."""


def load_template(file: Path) -> dict[str, Any]:
    """Read a template in YAML or JSON and expand the short forms."""
    template = json.loads(json.dumps(cfn_yaml.load(str(file)), default=str))
    assert isinstance(template, dict)
    return template


class Stack:
    """A stack whose resources are created when they are resolved.

    Parameters
    ----------
    cloud
        Creates each resource once, when it or a reference to it is resolved.
    """

    def __init__(
        self,
        template: Mapping[str, Any],
        cloud: ResourceProvider,
        *,
        parameters: Mapping[str, Any] | None = None,
        imports: Mapping[str, str] | None = None,
        region: str = "eu-west-1",
        name: str = "example",
    ) -> None:
        self.resources: Mapping[str, Any] = template["Resources"]
        self._conditions: Mapping[str, Any] = template.get("Conditions", {})
        self._outputs: Mapping[str, Any] = template.get("Outputs", {})
        self._cloud = cloud
        self._imports = imports or {}
        self._region, self._name = region, name
        self._created: dict[str, str] = {}
        self._responses: dict[str, Mapping[str, Any]] = {}
        declared = template.get("Parameters", {})
        unknown = {*(parameters or {})} - {*declared}
        assert not unknown, f"the template has no parameters {unknown}"
        self._values: dict[str, Any] = {
            "AWS::AccountId": ACCOUNT,
            "AWS::NoValue": _NOTHING,
            "AWS::Partition": "aws",
            "AWS::Region": region,
            "AWS::StackName": name,
            "AWS::URLSuffix": _URL_SUFFIX,
            **{key: value["Default"] for key, value in declared.items() if "Default" in value},
            **(parameters or {}),
        }

    @property
    def custom_resources(self) -> tuple[str, ...]:
        """The logical ids of resources that a function responds for."""
        return tuple(
            key for key, each in self.resources.items() if each["Type"].startswith("Custom::")
        )

    def properties(self, logical_id: str) -> dict[str, Any]:
        """Resolve a resource's properties."""
        resolved = self.resolve(self.resources[logical_id].get("Properties", {}))
        assert isinstance(resolved, dict)
        return resolved

    def deploy(self, logical_id: str) -> Mapping[str, Any]:
        """Deploy a custom resource on the first call and return its response."""
        if logical_id not in self._responses:
            self._responses[logical_id] = self._cloud.deploy(self.properties(logical_id))
        return self._responses[logical_id]

    def outputs(self) -> dict[str, Any]:
        """Resolve the outputs and deploy the resources that they refer to."""
        return {key: self.resolve(each["Value"]) for key, each in self._outputs.items()}

    def resolve(self, value: Any) -> Any:
        """Resolve every intrinsic function in a value."""
        if isinstance(value, list):
            resolved = [self.resolve(each) for each in value]
            return [each for each in resolved if each is not _NOTHING]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            (name, argument), *_ = value.items()
            if name == "Ref" or name.startswith("Fn::"):
                return self._call(name, argument)
        members = {key: self.resolve(each) for key, each in value.items()}
        return {key: each for key, each in members.items() if each is not _NOTHING}

    def _call(self, name: str, argument: Any) -> Any:
        functions: dict[str, Callable[[Any], Any]] = {
            "Ref": self._ref,
            "Fn::Equals": lambda pair: self.resolve(pair[0]) == self.resolve(pair[1]),
            "Fn::GetAtt": self._get_att,
            "Fn::If": self._if,
            "Fn::ImportValue": lambda key: self._imports[self.resolve(key)],
            "Fn::Join": lambda pair: pair[0].join(map(str, self.resolve(pair[1]))),
            "Fn::Select": lambda pair: self.resolve(pair[1])[int(pair[0])],
            "Fn::Split": lambda pair: self.resolve(pair[1]).split(pair[0]),
            "Fn::Sub": self._sub,
        }
        return functions[name](argument)

    def _if(self, argument: list[Any]) -> Any:
        condition, then, otherwise = argument
        return self.resolve(then if self.resolve(self._conditions[condition]) else otherwise)

    def _sub(self, argument: Any) -> str:
        text, own = argument if isinstance(argument, list) else (argument, {})

        def value(found: re.Match[str]) -> str:
            literal, name = found.groups()
            if literal:
                return f"${{{name}}}"
            if name in own:
                return str(self.resolve(own[name]))
            return str(self._get_att(name) if "." in name else self._ref(name))

        return _REFERENCE.sub(value, text)

    def _ref(self, name: str) -> Any:
        if name in self._values:
            return self._values[name]
        kind: str = self.resources[name]["Type"]
        if kind.startswith("Custom::"):
            return self.deploy(name)["PhysicalResourceId"]
        default = f"{self._name}-{name}".lower()
        if kind not in _CREATED_TYPES:
            return default
        if name not in self._created:
            self._created[name] = self._cloud.create(
                kind, default, self.properties(name), self._region
            )
        return self._created[name]

    def _get_att(self, argument: Any) -> Any:
        logical_id, _, attribute = (
            argument.partition(".")
            if isinstance(argument, str)
            else (argument[0], ".", self.resolve(argument[1]))
        )
        kind: str = self.resources[logical_id]["Type"]
        if kind.startswith("Custom::"):
            response = self.deploy(logical_id)
            assert response["Status"] == "SUCCESS", response["Reason"]
            return response["Data"][attribute]
        name = self._ref(logical_id)
        if kind == "AWS::ECR::Repository" and attribute == "RepositoryUri":
            return f"{ACCOUNT}.dkr.ecr.{self._region}.{_URL_SUFFIX}/{name}"
        if attribute == "Arn":
            _, service, resource = kind.lower().split("::")
            return f"arn:aws:{service}:{self._region}:{ACCOUNT}:{resource}/{name}"
        raise LookupError(f"{kind} has no supported attribute {attribute}")
