"""Remove from installed packages what the function does not use: `trim.py DIRECTORY`.

- botocore's models and endpoints of services that the function does not call, boto3's resource
  models;
- zstandard's CFFI backend, which CPython does not use;
- parts of Powertools that `handler/app.py` and `custom_resource` do not import;
- symbols and debugging information of compiled modules, for any architecture;
- tests, type stubs, scripts, and the installer's records, which differ between machines.

Tests load every remaining module and make a client of every service from the result.
"""

from __future__ import annotations

import gzip
import json
import shutil
import struct
import sys
from pathlib import Path

#: Services that `aws/operations.py` and the mirror call, as botocore names them.
SERVICES = frozenset(
    (
        "ecr",
        "ecr-public",
        "kms",
        "lambda",
        "s3",
        "scheduler",
        "secretsmanager",
        "stepfunctions",
        "sts",
    )
)
#: Patterns of files and directories, relative to the packages.
UNUSED = (
    "bin",
    "aws_lambda_powertools/event_handler",
    "boto3/data",
    "boto3/examples",
    "pycparser",
    "zstandard/_cffi.*",
    "zstandard/backend_cffi.py",
    "**/__pycache__",
    "**/tests",
    "**/*.pyi",
    "**/py.typed",
    # what the installer writes about itself
    "*.dist-info/RECORD",
    "*.dist-info/INSTALLER",
    "*.dist-info/REQUESTED",
    "*.dist-info/direct_url.json",
)
_ELF64_LITTLE_ENDIAN = b"\x7fELF\x02\x01"


def main(packages: Path) -> None:
    """Trim the packages in this directory."""
    data = packages / "botocore" / "data"
    for directory in data.iterdir():
        if directory.is_dir() and directory.name not in SERVICES:
            remove(directory)
    endpoints = data / "endpoints.json"
    names = {endpoint_name(model) for model in data.glob("*/*/service-2.json.gz")}
    endpoints.write_text(without_services(endpoints.read_text(), kept=names))
    for pattern in UNUSED:
        for path in list(packages.glob(pattern)):
            remove(path)
    for path in packages.rglob("*.so"):
        path.write_bytes(stripped(path.read_bytes()))


def endpoint_name(model: Path) -> str:
    """Return the name by which botocore's endpoints.json lists a service."""
    metadata = json.loads(gzip.decompress(model.read_bytes()))["metadata"]
    return str(metadata["endpointPrefix"])


def without_services(endpoints: str, *, kept: set[str]) -> str:
    """Remove other services from botocore's endpoints.json, which the first client parses."""
    document = json.loads(endpoints)
    for partition in document["partitions"]:
        services = partition["services"]
        partition["services"] = {name: services[name] for name in services if name in kept}
    return json.dumps(document, separators=(",", ":"))


def remove(path: Path) -> None:
    """Remove a file or a directory."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def stripped(library: bytes) -> bytes:
    """Return an ELF library without what its segments do not load.

    The dynamic loader reads the program headers alone; symbols and debugging information lie behind
    the last segment, and the section headers describe them. Unlike `strip`, this works for another
    machine's libraries. See elf(5).
    """
    if not library.startswith(_ELF64_LITTLE_ENDIAN):
        raise ValueError("not a 64-bit little-endian ELF file")
    (offset,) = struct.unpack_from("<Q", library, 0x20)
    size, count = struct.unpack_from("<HH", library, 0x36)
    ends = [offset + size * count]
    for number in range(count):
        start, _, _, length = struct.unpack_from("<4Q", library, offset + number * size + 8)
        ends.append(start + length)
    kept = bytearray(library[: max(ends)])
    struct.pack_into("<Q", kept, 0x28, 0)  # no section headers
    struct.pack_into("<HHH", kept, 0x3A, 0, 0, 0)
    return bytes(kept)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
