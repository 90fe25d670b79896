"""``python -m benchmarks.peers WHEELS FOLDER``: extract the other function from its package.

The Python package of cdk-ecr-deployment contains its npm package, which contains the Lambda
function's program. It runs in the emulator.
"""

from __future__ import annotations

import io
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Final

_PACKAGE: Final = ".jsii.tgz"
_PROGRAM: Final = "package/lambda-bin/bootstrap"


def extract(wheel: Path, folder: Path) -> Path:
    """Write the program to a folder.

    Raises
    ------
    KeyError, StopIteration
        The structure of the package has changed.
    """
    with zipfile.ZipFile(wheel) as wheel_file:
        package = next(name for name in wheel_file.namelist() if name.endswith(_PACKAGE))
        content = io.BytesIO(wheel_file.read(package))
    with tarfile.open(fileobj=content) as tar:
        program = tar.extractfile(_PROGRAM)
        if program is None:
            raise KeyError(_PROGRAM)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "bootstrap"
        path.write_bytes(program.read())
    path.chmod(0o755)
    return path


def main(arguments: list[str]) -> None:
    """Extract the only wheel of a folder."""
    wheels, folder = map(Path, arguments)
    (wheel,) = wheels.glob("cdk_ecr_deployment-*.whl")
    extract(wheel, folder)


if __name__ == "__main__":
    main(sys.argv[1:])
