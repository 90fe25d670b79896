"""Copies import only the modules that they need, since imports slow down every start.

Most runs of the command line and most invocations consist of little more than the start.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable

from local.aws import LoopbackAws
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
_FUNCTION = """
import json, sys
import app, botocore.session
from tests.functional.conftest import FakeContext
created = []
create = botocore.session.Session.create_client
def count(self, service, *args, **kwargs):
    created.append(service)
    return create(self, service, *args, **kwargs)
botocore.session.Session.create_client = count
before = set(sys.modules)
values = app.lambda_handler({"SrcImage": sys.argv[1], "DestImage": sys.argv[2]}, FakeContext(900))
assert values["ImageDigest"], values
later = {name for name in set(sys.modules) - before if name.startswith(("ecr_image", "boto"))}
print(json.dumps([created, sorted(later)]))
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


def _run(code: str, *arguments: str, **environment: str) -> str:
    """Run code in a new process and return its last line."""
    finished = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.splitlines()[-1]


def _imported(code: str, source: str, destination: str) -> set[str]:
    """Return which of the other modules a copy has imported."""
    names = _run(code, source, destination).split()
    modules = {name.removeprefix("ecr_image_replicator.") for name in names}
    assert {"urllib3", "registry.source"} <= modules
    return modules & _OTHERS


def test_a_copy_between_other_registries_imports_no_aws_modules(
    registries: Callable[..., RegistryServer],
) -> None:
    source, destination = registries(), registries()
    place(build_image([build_layer(1000, seed=1)]), source.store, "app", "1")

    assert not _imported(_ENGINE, f"{source.host}/app:1", f"{destination.host}/app:1")

    assert list(destination.store.tags("app")) == ["1"]


def test_the_command_line_imports_few_modules_for_an_existing_image(
    registries: Callable[..., RegistryServer],
) -> None:
    source, destination = registries(), registries()
    image = build_image([build_layer(1000, seed=1)])
    for server in (source, destination):
        place(image, server.store, "app", "1")

    assert not _imported(_COMMAND, f"{source.host}/app:1", f"{destination.host}/app:1")

    assert [each.method for each in destination.requests] == ["GET"]


def test_the_ecr_client_is_created_before_the_first_request(
    registries: Callable[..., RegistryServer], aws: LoopbackAws
) -> None:
    source = registries()
    place(build_image([build_layer(1000, seed=1)]), source.store, "app", "1")
    ecr = aws.ecr()
    ecr.create_repository("app")
    images = f"{source.host}/app:1", f"{ecr.host}/app:1"

    printed = _run(_FUNCTION, *images, AWS_LAMBDA_FUNCTION_NAME="replicator")

    assert json.loads(printed) == [[], []]
