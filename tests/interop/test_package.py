"""The engine as a Python package: `pip install .` in a new environment."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Final

import pytest

from ecr_image_replicator.version import __version__

ROOT: Final = Path(__file__).parents[2]
ENGINE: Final = ROOT / "handler" / "ecr_image_replicator"
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())
BIN: Final = Path(sys.executable).parent
#: Distributions whose module has another name.
MODULES: Final = {"pyyaml": "yaml"}


def run(*command: str | Path, directory: Path = ROOT) -> str:
    finished = subprocess.run(
        list(map(str, command)),
        cwd=directory,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout
    return finished.stdout


def build(directory: Path) -> Path:
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", directory)
    (wheel,) = directory.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of programs of an environment with the wheel and its locked dependencies."""
    directory = tmp_path_factory.mktemp("installed")
    constraints = directory / "constraints.txt"
    export = ("export", "--quiet", "--frozen", "--no-emit-project", "--no-hashes")
    run(BIN / "uv", *export, "--output-file", constraints)
    environment = directory / "environment"
    run(BIN / "uv", "venv", "--quiet", "--no-project", "--python", sys.executable, environment)
    install = ("pip", "install", "--quiet", "--python", environment / "bin" / "python")
    run(BIN / "uv", *install, "--constraints", constraints, wheel, directory=directory)
    return environment / "bin"


def test_the_installed_program_prints_its_version(installed: Path, tmp_path: Path) -> None:
    printed = run(installed / "ecr-image-replicator", "--version", directory=tmp_path)

    assert printed.split() == ["ecr-image-replicator", __version__]


def test_the_installed_package_has_its_metadata(installed: Path, tmp_path: Path) -> None:
    code = "import importlib.metadata; print(importlib.metadata.version('ecr-image-replicator'))"

    assert run(installed / "python", "-c", code, directory=tmp_path).strip() == __version__


def test_every_module_of_the_package_can_be_imported(installed: Path, tmp_path: Path) -> None:
    code = (
        "import importlib, pkgutil, ecr_image_replicator as package\n"
        "for each in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "    importlib.import_module(each.name)\n"
    )

    run(installed / "python", "-W", "error", "-c", code, directory=tmp_path)


def test_the_wheel_has_only_the_engine(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        packages = {name.partition("/")[0] for name in opened.namelist()}

    assert packages == {"ecr_image_replicator", f"ecr_image_replicator-{__version__}.dist-info"}


def test_builds_of_the_wheel_are_reproducible(wheel: Path, tmp_path: Path) -> None:
    assert build(tmp_path).read_bytes() == wheel.read_bytes()


def test_every_imported_distribution_is_declared() -> None:
    declared = {re.split(r"[\[<>=~! ]", each)[0] for each in PROJECT["project"]["dependencies"]}

    assert imported_modules() <= {MODULES.get(each, each) for each in declared}


def imported_modules() -> set[str]:
    names: set[str] = set()
    for path in ENGINE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {each.name for each in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                names.add(node.module)
    modules = {name.partition(".")[0] for name in names}
    return modules - set(sys.stdlib_module_names) - {"ecr_image_replicator"}
