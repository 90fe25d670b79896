"""boto3, which is slow to import, is imported only by copies that use AWS."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from local.images import build_image, build_layer, push
from local.registry import RegistryServer

_COPY = """
import sys
from tests.replicating import replicate_once
replicate_once({"SrcImage": sys.argv[1], "DestImage": sys.argv[2]})
print(sorted({"boto3", "botocore"} & set(sys.modules)))
"""


def test_a_copy_between_other_registries_does_not_import_boto3(
    registries: Callable[..., RegistryServer],
) -> None:
    source, destination = registries(), registries()
    push(build_image([build_layer(1000, seed=1)]), source.host, "app", "1")

    copied = subprocess.run(
        [sys.executable, "-c", _COPY, f"{source.host}/app:1", f"{destination.host}/app:1"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert copied.stdout.strip() == "[]", copied.stderr
