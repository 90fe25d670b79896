"""Copies import only what they need: each slow module is a part of every start.

A start is what most runs of the command line, and most invocations of the function, consist of.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from local.images import build_image, build_layer, place
from local.registry import RegistryServer

_COMMAND = """
import sys
from ecr_image_replicator.__main__ import main
sys.argv[1:1] = ["copy", "--quiet"]
status = main()
print(*sorted(sys.modules))
sys.exit(status)
"""
_ENGINE = """
import sys
from tests.replicating import replicate_once
replicate_once({"SrcImage": sys.argv[1], "DestImage": sys.argv[2]})
print(*sorted(sys.modules))
"""
#: Third-party packages and modules of the standard library that a copy between registries does
#: without, and parts of the engine that only other copies need.
_OTHERS = {
    *("boto3", "botocore", "cffi", "cryptography", "isal", "jmespath", "requests", "rich"),
    *("s3transfer", "yaml", "zstandard"),
    *("asyncio", "difflib", "subprocess", "tarfile", "urllib.request", "xml"),
    *("aws", "archive", "copy.dry_run", "ecr", "mirror", "referrers", "request.docker_config"),
    *("request.mirror", "request.secret_formats"),
}


def _imported(code: str, source: str, destination: str) -> set[str]:
    """Return which of the other modules a copy has imported."""
    copied = subprocess.run(
        [sys.executable, "-c", code, source, destination],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert copied.returncode == 0, copied.stderr
    modules = {
        name.removeprefix("ecr_image_replicator.")
        for name in copied.stdout.splitlines()[-1].split()
    }
    assert {"urllib3", "registry.source"} <= modules
    return modules & _OTHERS


def test_a_copy_between_other_registries_imports_nothing_of_aws(
    registries: Callable[..., RegistryServer],
) -> None:
    source, destination = registries(), registries()
    place(build_image([build_layer(1000, seed=1)]), source.store, "app", "1")

    assert not _imported(_ENGINE, f"{source.host}/app:1", f"{destination.host}/app:1")

    assert list(destination.store.tags("app")) == ["1"]


def test_the_command_line_imports_little_for_an_image_that_is_there(
    registries: Callable[..., RegistryServer],
) -> None:
    source, destination = registries(), registries()
    image = build_image([build_layer(1000, seed=1)])
    for server in (source, destination):
        place(image, server.store, "app", "1")

    assert not _imported(_COMMAND, f"{source.host}/app:1", f"{destination.host}/app:1")

    assert [each.method for each in destination.requests] == ["GET"]
