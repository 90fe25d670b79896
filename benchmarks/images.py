"""The copied images: layers pushed once, and a new image of them for each run.

Each run copies an image that no process has cached: its config and manifest are new,
while its layers are the same. A warm function then reuses connections and tokens,
but not cached content.
"""

from __future__ import annotations

import hashlib
import json
import random
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urljoin, urlsplit

if TYPE_CHECKING:
    import http.client
    from collections.abc import Mapping

    from benchmarks.registries import Registry

MEBIBYTE: Final = 1024 * 1024
#: The repository with every layer; other repositories mount them from it.
_LAYERS: Final = "layers"
_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
_INDEX: Final = "application/vnd.oci.image.index.v1+json"
_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
_LAYER: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
_ARCHITECTURES: Final = ("amd64", "arm64", "s390x", "ppc64le")


class PreparationError(RuntimeError):
    """A registry rejected the content to measure."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The shape of an image.

    Attributes
    ----------
    children
        Number of images of an index. 1 is an image without index.
    layers
        Number of layers of each child, all different.
    layer_bytes
        Size of each layer without gzip's overhead.
    """

    name: str
    children: int
    layers: int
    layer_bytes: int

    @property
    def total_bytes(self) -> int:
        """The bytes to copy to an empty destination, without configs and manifests."""
        return self.children * self.layers * self.layer_bytes


@dataclass(frozen=True, slots=True)
class _Content:
    """Content with its digest."""

    media_type: str
    content: bytes

    @property
    def digest(self) -> str:
        return f"sha256:{hashlib.sha256(self.content).hexdigest()}"

    def descriptor(self) -> dict[str, Any]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.content)}


class ImageSeries:
    """Images of one shape. Their layers are in both registries.

    Parameters
    ----------
    shape
        The shape of the images.
    source, destination
        The registries.
    """

    def __init__(self, shape: Shape, source: Registry, destination: Registry) -> None:
        self.shape = shape
        self._source = source
        self._destination = destination
        self._number = 0
        self._children: list[list[dict[str, Any]]] = []
        for child in range(shape.children):
            layers = []
            for layer in range(shape.layers):
                content = _layer(shape.layer_bytes, f"{shape.name} {child} {layer}")
                for registry in (source, destination):
                    Pusher(registry, _LAYERS).push_blob(content)
                layers.append(content.descriptor())
            self._children.append(layers)

    def publish(self, state: str) -> PublishedImage:
        """Push a new image to the source, and the existing content of the state to the destination.

        Parameters
        ----------
        state
            ``missing``: nothing; ``partly``: the tag has half of each child's layers, or half of
            an index's children; ``there``: the image.
        """
        self._number += 1
        repository = f"{self.shape.name}-{self._number}"
        root = self._push(Pusher(self._source, repository), self._children, self._number)
        pusher = Pusher(self._destination, repository)
        if state == "there":
            self._push(pusher, self._children, self._number)
        elif state == "partly":
            self._push(pusher, _half(self._children), -self._number)
        blobs = tuple((d["digest"], d["size"]) for layers in self._children for d in layers)
        return PublishedImage(repository, root, self.shape, blobs)

    def check(self, image: PublishedImage) -> None:
        """Check that the image is at the destination.

        Raises
        ------
        PreparationError
            The tag points at another digest.
        """
        found = Pusher(self._destination, image.repository).find_digest()
        if found != image.digest:
            message = f"{image.repository} is at {found} where it must be at {image.digest}"
            raise PreparationError(message)

    def _push(self, pusher: Pusher, children: list[list[dict[str, Any]]], number: int) -> str:
        manifests = []
        for architecture, layers in zip(_ARCHITECTURES, children, strict=False):
            platform = {"os": "linux", "architecture": architecture}
            config = _Content(
                _CONFIG,
                _json(
                    {
                        **platform,
                        "config": {"Labels": {"number": str(number)}},
                        "rootfs": {"type": "layers", "diff_ids": [d["digest"] for d in layers]},
                    }
                ),
            )
            pusher.push_blob(config)
            for layer in layers:
                pusher.mount(layer["digest"])
            manifest = _Content(
                _MANIFEST,
                _json(
                    {
                        "schemaVersion": 2,
                        "mediaType": _MANIFEST,
                        "config": config.descriptor(),
                        "layers": layers,
                    }
                ),
            )
            pusher.push_manifest(manifest, manifest.digest)
            manifests.append((manifest, {**manifest.descriptor(), "platform": platform}))
        root = manifests[0][0]
        if self.shape.children > 1:
            described = [descriptor for _, descriptor in manifests]
            document = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": described}
            root = _Content(_INDEX, _json(document))
        pusher.push_manifest(root, "latest")
        return root.digest


@dataclass(frozen=True, slots=True)
class PublishedImage:
    """An image with the tag ``latest`` in the source's repository.

    Attributes
    ----------
    blobs
        Digest and size of every layer.
    """

    repository: str
    digest: str
    shape: Shape
    blobs: tuple[tuple[str, int], ...]


class Pusher:
    """Pushes to one repository, without measurement."""

    def __init__(self, registry: Registry, repository: str) -> None:
        self._registry = registry
        self._path = f"/v2/{repository}"

    def push_blob(self, content: _Content) -> None:
        """Push a blob with POST and PUT."""
        start = f"{self._path}/blobs/uploads/"
        location = self._request("POST", start, 202).get("location", "")
        parts = urlsplit(urljoin(start, location))
        target = f"{parts.path}?{parts.query}&digest={quote(content.digest)}"
        self._request("PUT", target, 201, content)

    def mount(self, digest: str) -> None:
        """Mount a layer from the repository with every layer."""
        query = f"mount={quote(digest)}&from={_LAYERS}"
        self._request("POST", f"{self._path}/blobs/uploads/?{query}", 201)

    def push_manifest(self, content: _Content, reference: str) -> None:
        """Push a manifest by tag or digest."""
        self._request("PUT", f"{self._path}/manifests/{reference}", 201, content)

    def find_digest(self) -> str:
        """Return the digest of ``latest``."""
        accepted = _Content(f"{_MANIFEST}, {_INDEX}", b"")
        path = f"{self._path}/manifests/latest"
        return self._request("HEAD", path, 200, accepted).get("docker-content-digest", "")

    def _request(
        self, method: str, path: str, expected: int, content: _Content | None = None
    ) -> Mapping[str, str]:
        connection: http.client.HTTPConnection = self._registry.connect()
        media_type = content.media_type if content else "application/octet-stream"
        headers = {"Content-Type": media_type, "Accept": media_type}
        try:
            connection.request(method, path, content.content if content else b"", headers)
            response = connection.getresponse()
            received = response.read()
        finally:
            connection.close()
        if response.status != expected:
            message = f"{method} {path}: {response.status} {received[:300]!r}"
            raise PreparationError(message)
        return {name.lower(): value for name, value in response.getheaders()}


def _half(children: list[list[dict[str, Any]]]) -> list[list[dict[str, Any]]]:
    if len(children) > 1:
        return children[: len(children) // 2]
    return [layers[: len(layers) // 2] for layers in children]


def _layer(size_bytes: int, seed: str) -> _Content:
    """Return a gzip member of stored random bytes, which programs treat as compressed."""
    compressor = zlib.compressobj(level=0, wbits=31)
    content = compressor.compress(random.Random(seed).randbytes(size_bytes))
    return _Content(_LAYER, content + compressor.flush())


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
