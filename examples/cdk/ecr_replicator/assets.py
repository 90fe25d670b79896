"""The code of the function and its layer: built in the package, or built from the repository."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import aws_cdk as cdk
import jsii
from aws_cdk import aws_lambda as lambda_

#: In an installed package: one directory per build target.
_BUILT: Final = Path(__file__).resolve().parent / "built"
#: In the repository: the directory of `handler` and `layers`.
_SOURCES: Final = Path(__file__).resolve().parents[3]


def function_code(target: str) -> lambda_.Code:
    """Return the code of a function.

    Parameters
    ----------
    target
        The target of `handler/Makefile` that builds it.
    """
    if (built := _BUILT / target).is_dir():
        return lambda_.Code.from_asset(str(built))
    return lambda_.Code.from_asset(
        str(_SOURCES / "handler"),
        exclude=["__pycache__/"],
        ignore_mode=cdk.IgnoreMode.GIT,
        bundling=_bundling(_SOURCES / "handler", "Makefile", target),
    )


def layer_code(architecture: lambda_.Architecture) -> lambda_.Code:
    """Return the code of the layer for an architecture."""
    if (built := _BUILT / f"layer-{architecture.name}").is_dir():
        return lambda_.Code.from_asset(str(built))
    directory = _SOURCES / "layers" / "dependencies"
    return lambda_.Code.from_asset(
        str(directory),
        bundling=_bundling(directory, f"{architecture.name}/Makefile", "build-DependenciesLayer"),
    )


def _bundling(directory: Path, makefile: str, target: str) -> cdk.BundlingOptions:
    """Build as SAM does; the asset's hash is that of its sources and of this command."""
    command = ["make", "--silent", "--file", makefile, target]
    return cdk.BundlingOptions(
        # used only if the local build declines, which it never does
        image=lambda_.Runtime.PYTHON_3_13.bundling_image,
        command=[*command, "ARTIFACTS_DIR=/asset-output"],
        local=_LocalBuild(directory, command),
    )


@jsii.implements(cdk.ILocalBundling)
class _LocalBuild:
    """Runs a command on this machine."""

    def __init__(self, directory: Path, command: list[str]) -> None:
        self._directory = directory
        self._command = command

    def try_bundle(self, output_dir: str, *_: Any, **__: Any) -> bool:
        """Build into a directory; a failure ends the synthesis with the command's output."""
        subprocess.run(  # noqa: S603 - the command is written above
            [*self._command, f"ARTIFACTS_DIR={output_dir}"],
            cwd=self._directory,
            stdout=sys.stderr,
            check=True,
        )
        return True
