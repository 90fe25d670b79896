"""The built layer and function: complete, trimmed and compiled for Lambda's Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
RUNTIME: Final = "3.13"
#: Flags of a bytecode file that is never compared with its source (PEP 552).
UNCHECKED_HASH: Final = 0b01

_IMPORT_EVERYTHING: Final = """
import importlib, pkgutil, sys
from pathlib import Path
layer, function = map(Path, sys.argv[1:])
import app, responder, custom_resource, ecr_image_replicator
# the command line needs packages that the layer does not have
skipped = ("ecr_image_replicator.__main__", "ecr_image_replicator.cli")
for package in (custom_resource, ecr_image_replicator):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.startswith(skipped):
            importlib.import_module(module.name)
for library in layer.rglob("*.so"):
    name = str(library.relative_to(layer)).partition(".")[0].replace("/", ".")
    importlib.import_module(name)
for name, module in list(sys.modules.items()):
    file = getattr(module, "__file__", None) or ""
    if file.startswith((str(layer), str(function))) and file.endswith(".py"):
        assert module.__cached__ and Path(module.__cached__).is_file(), f"{name} has no bytecode"
"""
_CALL_EVERY_OPERATION: Final = """
import boto3
from botocore.stub import Stubber
from ecr_image_replicator.aws.operations import Operation
session = boto3.session.Session("key", "secret", region_name="eu-west-1")
clients = {each.service: session.client(each.service) for each in Operation}
for each in Operation:
    model = clients[each.service].meta.service_model.operation_model(each.api_name)
    assert model.output_shape is not None or model.name
assert "stepfunctions" in session.get_available_services()
import s3transfer.manager, botocore.signers, botocore.crt
"""


@pytest.fixture(scope="module")
def runtime_python() -> str:
    """A Python interpreter of Lambda's version."""
    home = Path.home()
    candidates = [
        os.environ.get("RUNTIME_PYTHON", ""),
        shutil.which(f"python{RUNTIME}") or "",
        *map(str, home.glob(f".pyenv/versions/{RUNTIME}*/bin/python{RUNTIME}")),
        *map(str, home.glob(f".local/share/uv/python/cpython-{RUNTIME}*/bin/python{RUNTIME}")),
        sys.executable,
    ]
    for python in filter(None, candidates):
        code = f"import sys; sys.exit('%d.%d' % sys.version_info[:2] != '{RUNTIME}')"
        if subprocess.run([python, "-c", code], capture_output=True, check=False).returncode == 0:
            return python
    pytest.skip(f"Python {RUNTIME} is not installed")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the build's sources in a folder whose name has a space."""
    directory = tmp_path_factory.mktemp("with a space")
    for name in ("handler", "layers"):
        shutil.copytree(ROOT / name, directory / name, ignore=shutil.ignore_patterns("__pycache__"))
    return directory


def build(sources: Path, artifacts: Path, **variables: str) -> str:
    """Build the function and this machine's layer as SAM does. Return the output of make."""
    machine = {"aarch64": "arm64"}.get(os.uname().machine, "x86_64")
    printed = ""
    for directory, makefile, target, name in (
        ("layers/dependencies", f"{machine}/Makefile", "build-DependenciesLayer", "layer"),
        ("handler", "Makefile", "build-ReplicatorFunction", "function"),
    ):
        (artifacts / name).mkdir(parents=True)
        finished = subprocess.run(
            ["make", "-s", "-I", ".", "-f", makefile, target],
            cwd=sources / directory,
            env={
                **os.environ,
                "PYTHON": sys.executable,
                "ARTIFACTS_DIR": str(artifacts / name),
                **variables,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        assert finished.returncode == 0, finished.stdout
        printed += finished.stdout
    return printed


@pytest.fixture(scope="module")
def artifacts(
    runtime_python: str, sources: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("artifacts")
    build(sources, directory, RUNTIME_PYTHON=runtime_python)
    yield directory
    shutil.rmtree(directory)


def run(python: str, artifacts: Path, code: str) -> None:
    layer, function = artifacts / "layer" / "python", artifacts / "function"
    finished = subprocess.run(
        # -S: without installed packages; -B: without new bytecode files
        [python, "-S", "-B", "-W", "error", "-c", code, str(layer), str(function)],
        env={"PYTHONPATH": f"{layer}{os.pathsep}{function}", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr


def test_the_trimmed_layer_has_all_imports_of_the_function(
    runtime_python: str, artifacts: Path
) -> None:
    run(runtime_python, artifacts, _IMPORT_EVERYTHING)


def test_the_trimmed_layer_has_all_aws_service_models_of_the_function(
    runtime_python: str, artifacts: Path
) -> None:
    run(runtime_python, artifacts, _CALL_EVERY_OPERATION)


def test_every_module_has_unchecked_hash_based_bytecode(artifacts: Path) -> None:
    for source in artifacts.rglob("*.py"):
        cached = source.parent / "__pycache__" / f"{source.stem}.cpython-313.pyc"
        assert int.from_bytes(cached.read_bytes()[4:8], "little") == UNCHECKED_HASH, source


def test_bytecode_has_the_paths_of_lambda(artifacts: Path) -> None:
    for part, root in (("layer/python/crhelper", b"/opt/python/"), ("function", b"/var/task/")):
        for cached in (artifacts / part).rglob("*.pyc"):
            content = cached.read_bytes()
            assert root in content, cached
            assert str(artifacts).encode() not in content, cached


def test_a_build_without_lambdas_python_has_no_bytecode_and_prints_a_warning(
    sources: Path, tmp_path: Path
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("make", "sh", "find", "chmod", "sort", "mkdir", "dirname", "cp"):
        program = shutil.which(name)
        assert program is not None
        (programs / name).symlink_to(program)
    variables = {"PATH": str(programs), "HOME": str(tmp_path), "RUNTIME_PYTHON": ""}

    printed = build(sources, tmp_path / "artifacts", **variables)

    assert printed.count("Python 3.13 was not found") == 2
    assert "sam build --use-container" in printed
    assert (tmp_path / "artifacts" / "function" / "app.py").is_file()
    assert not list((tmp_path / "artifacts").rglob("*.pyc"))
