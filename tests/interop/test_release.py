"""The files of `make release`: complete, reproducible and deployable."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any, Final

import pytest

from ecr_image_replicator.version import __version__

ROOT: Final = Path(__file__).parents[2]
WHEEL: Final = f"ecr_image_replicator-{__version__}-py3-none-any.whl"
CONSTRUCT: Final = f"ecr_image_replicator_cdk-{__version__}-py3-none-any.whl"
FILES: Final = {
    "SHA256SUMS",
    WHEEL,
    f"ecr_image_replicator-{__version__}.tar.gz",
    CONSTRUCT,
    "function.zip",
    "layer-arm64.zip",
    "layer-sbom.cdx.json",
    "layer-x86_64.zip",
    "responder.zip",
    "template.yaml",
}
_APP: Final = """
import aws_cdk as cdk
from aws_cdk import aws_ecr as ecr
from ecr_replicator import DockerImageName, ECRDeployment

app = cdk.App(outdir="cdk.out", analytics_reporting=False)
stack = cdk.Stack(app, "Outside")
repository = ecr.Repository(stack, "Repository")
ECRDeployment(
    stack,
    "Image",
    src=DockerImageName("public.ecr.aws/docker/library/nginx:1.27"),
    dest=DockerImageName.from_repository(repository, "1.27"),
)
app.synth()
"""
_TRANSFORM: Final = """
import json, sys
from samcli.yamlhelper import yaml_parse
from samtranslator.translator.transform import transform

class NoManagedPolicies:
    def load(self):
        return {}

print(json.dumps(transform(yaml_parse(sys.stdin.read()), {}, NoManagedPolicies())))
"""


def build(directory: Path, umask: int) -> Path:
    finished = subprocess.run(
        [sys.executable, str(ROOT / ".ci" / "release.py"), str(directory)],
        umask=umask,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    if "a release needs Python 3.13" in finished.stdout:
        pytest.skip("Python 3.13 is not installed")
    assert finished.returncode == 0, finished.stdout
    return directory


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("release") / "with a space", umask=0o022)


@pytest.fixture(scope="module")
def template(release: Path) -> dict[str, Any]:
    """The packaged template, transformed by SAM."""
    sam = shutil.which("sam")
    assert sam, "sam is not on the PATH: run `make interop`, which installs it"
    finished = subprocess.run(
        [str(Path(sam).with_name("python")), "-c", _TRANSFORM],
        input=(release / "template.yaml").read_text(),
        env={**os.environ, "AWS_DEFAULT_REGION": "eu-west-1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    loaded = json.loads(finished.stdout)
    assert isinstance(loaded, dict)
    return loaded


def test_a_release_has_every_file_and_its_checksum(release: Path) -> None:
    files = {path.name: path.read_bytes() for path in release.iterdir()}
    sums = dict(line.split("  ")[::-1] for line in files["SHA256SUMS"].decode().splitlines())

    assert files.keys() >= FILES
    assert sums == {
        name: hashlib.sha256(content).hexdigest()
        for name, content in files.items()
        if name != "SHA256SUMS"
    }


def test_release_builds_are_reproducible(release: Path, tmp_path: Path) -> None:
    again = build(tmp_path / "release", umask=0o077)

    assert (again / "SHA256SUMS").read_text() == (release / "SHA256SUMS").read_text()


def test_files_are_readable_by_lambda_and_have_one_date(release: Path) -> None:
    for archive in release.glob("*.zip"):
        with zipfile.ZipFile(archive) as opened:
            assert {entry.date_time for entry in opened.infolist()} == {(1980, 1, 1, 0, 0, 0)}
            modes = {stat.filemode(entry.external_attr >> 16) for entry in opened.infolist()}
        assert modes == {"-rw-r--r--"}, archive.name


def test_function_and_layers_have_the_paths_of_lambda(release: Path) -> None:
    with zipfile.ZipFile(release / "function.zip") as opened:
        names = set(opened.namelist())
        assert {"app.py", "__pycache__/app.cpython-313.pyc"} <= names
    for architecture in ("arm64", "x86_64"):
        with zipfile.ZipFile(release / f"layer-{architecture}.zip") as opened:
            assert {name.partition("/")[0] for name in opened.namelist()} == {"python"}


def test_the_template_refers_only_to_files_of_the_release(
    release: Path, template: dict[str, Any]
) -> None:
    keys = {
        each["Properties"][name]["S3Key"]["Fn::Sub"]
        for each in template["Resources"].values()
        for name in ("Code", "Content")
        if "S3Key" in each["Properties"].get(name, {})
    }
    named = {
        key.removeprefix("${ArtifactPrefix}").replace("${Architecture}", architecture)
        for key in keys
        for architecture in template["Parameters"]["Architecture"]["AllowedValues"]
    }

    assert named == {"function.zip", "responder.zip", "layer-arm64.zip", "layer-x86_64.zip"}
    assert named <= {path.name for path in release.iterdir()}
    assert template["Parameters"]["ArtifactPrefix"]["Default"].endswith(f"/{__version__}/")


def test_the_packaged_template_passes_cfn_lint(release: Path) -> None:
    cfn_lint = Path(sys.executable).with_name("cfn-lint")
    finished = subprocess.run(
        [str(cfn_lint), "--template", str(release / "template.yaml")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout


def test_the_construct_is_usable_from_its_wheel_alone(release: Path, tmp_path: Path) -> None:
    """An app outside the repository synthesizes with the built function and layer."""
    (tmp_path / "app.py").write_text(_APP)
    with zipfile.ZipFile(release / CONSTRUCT) as wheel:
        wheel.extractall(tmp_path / "site")

    finished = subprocess.run(
        [str(ROOT / ".venv-cdk" / "bin" / "python"), "app.py"],
        cwd=tmp_path,
        env={
            **os.environ,
            "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "true",
            "PYTHONPATH": str(tmp_path / "site"),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )

    assert finished.returncode == 0, finished.stdout + finished.stderr
    assembly = tmp_path / "cdk.out"
    template = json.loads((assembly / "Outside.template.json").read_text())
    assert any(each["Type"] == "Custom::ECRImage" for each in template["Resources"].values())
    assert list(assembly.glob("asset.*/app.py"))
    assert list(assembly.glob("asset.*/python/requests"))
