"""The oras client from PyPI, in the environment of `make registries`."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any, ClassVar, Final

from tests.interop.makers.program import Kind, Target, run, write_file
from tests.programs import find_program

_CLIENT: Final = Path(__file__).parent / "oras_client.py"
_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
_IMAGE_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
_IMAGE_LAYER: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
#: Media types of a Helm chart: https://helm.sh/docs/topics/registries/
_CHART_CONFIG: Final = "application/vnd.cncf.helm.config.v1+json"
_CHART: Final = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
_SBOM: Final = "application/spdx+json"
_OCI_ONLY: Final = "the oras client sends every manifest as an OCI image manifest"
_NO_INDEX: Final = "the oras client has no indexes"


class Oras:
    """The oras client: images, Helm charts and attached files."""

    cannot_write: ClassVar[dict[Kind, str]] = {
        Kind.DOCKER: _OCI_ONLY,
        Kind.INDEX: _NO_INDEX,
        Kind.MANIFEST_LIST: _NO_INDEX,
        Kind.SUBSET: _NO_INDEX,
    }
    cannot_read: ClassVar[dict[Kind, str]] = {
        Kind.INDEX: _NO_INDEX,
        Kind.MANIFEST_LIST: _NO_INDEX,
        Kind.SUBSET: _NO_INDEX,
    }

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def write(self, kind: Kind, target: Target) -> None:
        archive = self._archive()
        if kind is Kind.ARTIFACT:
            chart = b'{"name":"app","version":"1.0.0","apiVersion":"v2"}'
            self._push(target, {archive: _CHART}, self._config("chart.json", chart), _CHART_CONFIG)
        else:
            diff_id = hashlib.sha256(gzip.decompress(archive.read_bytes())).hexdigest()
            config = {
                "os": "linux",
                "architecture": "amd64",
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]},
            }
            file = self._config("image.json", json.dumps(config).encode())
            self._push(target, {archive: _IMAGE_LAYER}, file, _IMAGE_CONFIG)

    def attach(self, target: Target, subject: bytes) -> None:
        """Push an SBOM with this manifest as subject to a separate tag."""
        file = write_file(self._directory, "sbom")
        descriptor = {
            "mediaType": json.loads(subject).get("mediaType", _MANIFEST),
            "digest": f"sha256:{hashlib.sha256(subject).hexdigest()}",
            "size": len(subject),
        }
        empty = self._config("empty.json", b"{}")
        self._push(target, {file: _SBOM}, empty, _SBOM, subject=descriptor)

    def read(self, kind: Kind, target: Target, directory: Path) -> None:  # noqa: ARG002
        blobs = directory / "blobs"
        blobs.mkdir()
        self._client("pull", target, directory=str(directory / "pulled"), blobs=str(blobs))
        assert any((directory / "pulled").iterdir())
        assert any(blobs.iterdir())
        for blob in blobs.iterdir():
            assert blob.name == hashlib.sha256(blob.read_bytes()).hexdigest()

    def _archive(self) -> Path:
        """Write the layer of the image and of the chart."""
        path = self._directory / "app-1.0.0.tgz"
        if not path.exists():
            content = io.BytesIO()
            with tarfile.open(fileobj=content, mode="w") as tar:
                tar.add(write_file(self._directory, "values.yaml"), arcname="app/values.yaml")
            path.write_bytes(gzip.compress(content.getvalue(), mtime=0))
        return path

    def _config(self, name: str, content: bytes) -> Path:
        path = self._directory / name
        path.write_bytes(content)
        return path

    def _push(
        self,
        target: Target,
        files: dict[Path, str],
        config: Path,
        config_type: str,
        subject: dict[str, Any] | None = None,
    ) -> None:
        self._client(
            "push",
            target,
            files=[f"{path}:{media_type}" for path, media_type in files.items()],
            config=f"{config}:{config_type}",
            subject=subject,
        )

    def _client(self, command: str, target: Target, **arguments: Any) -> str:
        python = Path(find_program("zuul-registry", "make registries")).with_name("python")
        request = {"host": target.host, "name": target.name, "login": target.login, **arguments}
        return run(
            str(python),
            "-I",
            str(_CLIENT),
            command,
            json.dumps(request),
            directory=self._directory,
        )
