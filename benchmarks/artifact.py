"""The function and its layer as built by `sam build`, started as in Lambda."""

from __future__ import annotations

import os
import re
import zipfile
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

_ROOT: Final = Path(__file__).parent.parent
#: Built for this machine by `make bench`; `make build` builds for the template's default.
_BUILD: Final = _ROOT / ".aws-sam" / "bench"
FUNCTION: Final = _BUILD / "ReplicatorFunction"
LAYER: Final = _BUILD / "DependenciesLayer"
#: Lambda's Python with Lambda's runtime client, from `make runtime`.
PYTHON: Final = _ROOT / ".venv-runtime" / "bin" / "python"
RUNTIME: Final = (str(PYTHON), "-m", "awslambdaric")
HANDLER: Final = "app.lambda_handler"
#: Also loads boto3 and an ECR client.
HANDLER_WITH_BOTO3: Final = "benchmarks.with_boto3.lambda_handler"
_VARIABLE: Final = re.compile(r'^ +([A-Z][A-Z_]+): "([^"]+)"$', re.MULTILINE)


class ArtifactError(RuntimeError):
    """The built function is missing or incomplete. The message has the build command."""


def environment(handler: str = HANDLER) -> dict[str, str]:
    """Return the environment variables with the code's paths as in Lambda.

    Nothing is written to the artifact: Lambda's file system is read-only, so a module without
    bytecode is compiled in every cold start.
    """
    path = [FUNCTION, LAYER / "python"]
    if handler != HANDLER:
        path.append(_ROOT)
    return {
        **fixed_variables((_ROOT / "template.yaml").read_text()),
        "PYTHONPATH": os.pathsep.join(map(str, path)),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def fixed_variables(template: str) -> dict[str, str]:
    """Return the environment variables of the template that have fixed values."""
    return dict(_VARIABLE.findall(template))


def check(function: Path = FUNCTION, layer: Path = LAYER, python: Path = PYTHON) -> None:
    """Check that the function is built and that all its modules have bytecode.

    Raises
    ------
    ArtifactError
        A file is missing.
    """
    for path in (function, layer, python):
        if not path.exists():
            message = f"{path} does not exist. Run `make bench`, which builds it."
            raise ArtifactError(message)
    for folder in (function, layer):
        bare = [path for path in folder.rglob("*.py") if not _has_bytecode(path)]
        if bare:
            message = (
                f"{len(bare)} modules have no bytecode, such as {bare[0]}. Install Python 3.13"
            )
            raise ArtifactError(message)


def _has_bytecode(module: Path) -> bool:
    return any((module.parent / "__pycache__").glob(f"{module.stem}.*.pyc"))


def unpacked_bytes(path: Path) -> int:
    """Return the size of a file or of all files in a directory."""
    return sum(each.stat().st_size for each in _files(path))


def zipped_bytes(path: Path) -> int:
    """Return the size of a zip file of a file or directory, compressed as `sam` does it."""
    with TemporaryFile() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for each in _files(path):
                archive.write(each, each.relative_to(path.parent))
        return file.tell()


def _files(path: Path) -> list[Path]:
    found = [path] if path.is_file() else sorted(path.rglob("*"))
    return [each for each in found if each.is_file()]
