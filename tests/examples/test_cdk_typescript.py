"""`examples/cdk-typescript`: compiled, synthesized with the CDK from npm and deployed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from local.images import Index
from tests.examples.conftest import ROOT
from tests.examples.resolver import ACCOUNT, Stack
from tests.examples.simulated_cloud import SimulatedCloud
from tests.examples.test_cloudformation import EXPORTS

EXAMPLE = ROOT / "examples" / "cdk-typescript"
HOST = f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com"


@pytest.fixture(scope="module")
def assembly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cloud assembly of a copy of the app outside the repository."""
    directory = tmp_path_factory.mktemp("cdk-typescript")
    for file in EXAMPLE.iterdir():
        if file.is_file():
            shutil.copy(file, directory)
    environment = {**os.environ, "CDK_OUTDIR": str(directory / "cdk.out")}
    for command in (["npm", "ci", "--silent"], ["npm", "run", "build"], ["node", "app.js"]):
        done = subprocess.run(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return directory / "cdk.out"


def test_the_image_of_the_app_is_copied(
    assembly: Path, cloud: SimulatedCloud, index: Index
) -> None:
    cloud.push_image("public.ecr.aws/docker/library/nginx:1.27", index)
    template = json.loads((assembly / "ReplicatedImage.template.json").read_text())
    stack = Stack(template, cloud, imports=EXPORTS)

    uri = stack.outputs()["ImageUri"]

    assert uri.startswith(f"{HOST}/")
    assert "@sha256:" in uri
    assert cloud.manifest(uri).media_type.endswith(("index.v1+json", "list.v2+json"))


def test_the_app_has_few_lines(assembly: Path) -> None:
    assert assembly.is_dir()
    assert len((EXAMPLE / "app.ts").read_text().splitlines()) < 30
