"""Third-party programs that tests run."""

from __future__ import annotations

import os
import shutil

import pytest


def find_program(name: str, installation: str = "") -> str:
    """Return a program's path; without it skip the test, or fail it if CI is set.

    Parameters
    ----------
    name
        The program, looked up in PATH.
    installation
        The command that installs it; by default apt-get with the program's name.
    """
    program = shutil.which(name)
    if program is not None:
        return program
    message = f"{name} is not installed: {installation or f'apt-get install {name}'}"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)
