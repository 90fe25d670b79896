"""template.yaml, transformed by SAM and deployed to moto's CloudFormation.

moto does not support the types in `UNKNOWN_TO_MOTO`: the deployment omits them. moto also
keeps `AWS::NoValue` in lists: list members that a condition removes are removed beforehand.
"""

from __future__ import annotations

import functools
import io
import json
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.interop.moto_account import REGION, MotoAccount

_TRANSFORM = """
import json, sys
from samcli.yamlhelper import yaml_parse
from samtranslator.translator.transform import transform

class NoManagedPolicies:
    def load(self):
        return {}

template = yaml_parse(sys.stdin.read())
print(json.dumps(transform(template, json.loads(sys.argv[1]), NoManagedPolicies())))
"""
_BUCKET = "artifacts-of-the-template"
UNKNOWN_TO_MOTO = {
    "AWS::CloudWatch::Alarm",
    "AWS::IAM::RolePolicy",
    "AWS::Lambda::EventInvokeConfig",
}
#: The conditions that are true without parameters.
_TRUE_BY_DEFAULT = {"HasDestinationRepositories", "HasSourceRepositories"}
#: Always false, since `test_mirror_machine` tests mirrors.
_MIRRORS = "HasMirrors"


def packaged(source: str) -> str:
    """Return the template as `sam package` writes it, with the code in S3."""
    source = source.replace("CodeUri: handler/", f"CodeUri: s3://{_BUCKET}/Function.zip")
    source = source.replace("DefinitionUri: ", f"DefinitionUri: s3://{_BUCKET}/")
    return source.replace(
        "ContentUri: layers/dependencies/", f"ContentUri: s3://{_BUCKET}/Layer.zip"
    )


def transform(source: str, parameters: dict[str, str]) -> dict[str, Any]:
    transformed = json.loads(_runtransform(source, json.dumps(parameters)))
    assert isinstance(transformed, dict)
    return transformed


@functools.cache
def _runtransform(source: str, parameters: str) -> str:
    sam = shutil.which("sam")
    if sam is None:
        pytest.fail("sam is not on the PATH: run `make test`, which installs it")
    finished = subprocess.run(
        [str(Path(sam).with_name("python")), "-c", _TRANSFORM, parameters],
        input=source,
        env={"AWS_DEFAULT_REGION": REGION},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def _without_removed(node: Any, true: set[str]) -> Any:
    """Remove the list members that a false condition removes."""
    if isinstance(node, list):
        kept = [each for each in node if not _is_removed(each, true)]
        return [_without_removed(each, true) for each in kept]
    if isinstance(node, dict):
        return {name: _without_removed(value, true) for name, value in node.items()}
    return node


def _is_removed(node: Any, true: set[str]) -> bool:
    choice = node.get("Fn::If") if isinstance(node, dict) else None
    return bool(choice and choice[0] not in true and choice[2] == {"Ref": "AWS::NoValue"})


def _for_moto(template: dict[str, Any]) -> dict[str, Any]:
    """Remove the resources that moto does not know, and those of mirrors."""
    kept = {
        name: resource
        for name, resource in template["Resources"].items()
        if resource["Type"] not in UNKNOWN_TO_MOTO and resource.get("Condition") != _MIRRORS
    }
    outputs = {
        name: output
        for name, output in template["Outputs"].items()
        if output.get("Condition") != _MIRRORS
    }
    return {**template, "Resources": kept, "Outputs": outputs}


class TemplateAccount:
    """An account of moto that has the template's code in a bucket."""

    def __init__(self, moto: MotoAccount) -> None:
        self._moto = moto
        self.client = moto.client
        self.create_stack = moto.create_stack
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as opened:
            opened.writestr("app.py", "")
        self.client("s3").create_bucket(
            Bucket=_BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        for name in ("Function", "Layer"):
            self.client("s3").put_object(Bucket=_BUCKET, Key=f"{name}.zip", Body=archive.getvalue())

    def deploy(self, name: str, source: str, parameters: dict[str, str]) -> dict[str, str]:
        """Deploy the template with these parameters and return the stack's outputs."""
        template = _for_moto(transform(source, parameters))
        true = {*template["Conditions"]} - {_MIRRORS} if parameters else _TRUE_BY_DEFAULT
        template["Resources"] = _without_removed(template["Resources"], true)
        return self._moto.create_stack(name, json.dumps(template), parameters)

    def policies(self, role: str) -> set[str]:
        names = self.client("iam").list_role_policies(RoleName=role)["PolicyNames"]
        return set(names)

    def statements(self, role: str, policy: str) -> list[dict[str, Any]]:
        found = self.client("iam").get_role_policy(RoleName=role, PolicyName=policy)
        # moto returns the text of a Python object, which YAML can read too
        document = yaml.safe_load(str(found["PolicyDocument"]))
        return list(document["Statement"])


def named(template: dict[str, Any], kind: str) -> dict[str, Any]:
    return {
        name: resource
        for name, resource in template["Resources"].items()
        if resource["Type"] == kind
    }
