"""The environment of measured functions: a certificate authority and a CloudFormation endpoint."""

from __future__ import annotations

import contextlib
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trustme
from local.cloudformation import CloudFormationEndpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

#: A directory in memory, so that no disk access is measured.
TMPFS: Final = "/dev/shm"  # noqa: S108 - a unique directory is created in it


@dataclass(frozen=True, slots=True)
class SharedEnvironment:
    """The environment that all measurements share.

    Attributes
    ----------
    directory
        A directory for temporary files.
    authority, ca_file
        The authority of all server certificates.
    endpoint
        Receives the functions' responses.
    """

    directory: Path
    authority: trustme.CA
    ca_file: Path
    endpoint: CloudFormationEndpoint


@contextlib.contextmanager
def new_shared_environment(parent: str | None = None) -> Iterator[SharedEnvironment]:
    """Create an environment in a temporary directory, below `parent` if given."""
    with tempfile.TemporaryDirectory(dir=parent) as name:
        directory = Path(name)
        authority = trustme.CA(organization_name="Benchmark")
        ca_file = directory / "ca.pem"
        authority.cert_pem.write_to_path(str(ca_file))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
        with CloudFormationEndpoint(context) as endpoint:
            yield SharedEnvironment(directory, authority, ca_file, endpoint)
