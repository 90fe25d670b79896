"""Each maker, kind of content and registry: pushed, copied and pulled.

A maker pushes to a registry, the function copies to another registry of the same kind, skopeo reads
the copy byte for byte, and the maker pulls it. The makers' `cannot_write` and `cannot_read` state
the exceptions; where a maker cannot write, skopeo does.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from local.images import Image
from local.registry import RegistryServer
from local.registry.digests import digest_of
from tests.functional.conftest import Function
from tests.functional.cosign_fixtures import fallback_index, fallback_tag, sbom
from tests.interop.makers import Buildah, Kind, Maker, Oras, Podman, Skopeo, Target, Umoci
from tests.interop.registries import PASSWORD, USER, DockerRegistry, skopeo_inspect_raw
from tests.interop.zuul_registry import ZuulRegistry

from custom_resource.resource import ReplicationResource
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.settings import Settings

MAKERS: Final[Mapping[str, type[Maker]]] = {
    "skopeo": Skopeo,
    "umoci": Umoci,
    "buildah": Buildah,
    "podman": Podman,
    "oras": Oras,
}
OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
#: Kinds of content that a registry does not support.
LACKS: Final[Mapping[str, Mapping[Kind, str]]] = {
    "docker-registry": {Kind.REFERRERS_API: "docker-registry 2.8 has no referrers API"},
    "zuul-registry": {Kind.REFERRERS_API: "zuul-registry 1.3 has no referrers API"},
    "local": {},
}
PROPERTIES: Final[Mapping[Kind, Mapping[str, str]]] = {
    Kind.INDEX: {"CopyImageIndex": "true"},
    Kind.MANIFEST_LIST: {"CopyImageIndex": "true"},
    Kind.SUBSET: {"Platforms": "linux/amd64,linux/arm64"},
    Kind.REFERRERS_API: {"CopyReferrers": "required"},
    Kind.FALLBACK_TAG: {"CopyReferrers": "required"},
}
_REGISTRIES: Final[Mapping[str, Callable[[bool], Any]]] = {
    "docker-registry": lambda _: DockerRegistry(),
    "zuul-registry": lambda _: ZuulRegistry(),
    "local": lambda has_referrers_api: RegistryServer(referrers_api=has_referrers_api),
}


def _cells() -> list[Any]:
    return [
        pytest.param(registry, maker, kind, id=f"{registry}-{maker}-{kind.value}")
        for registry in _REGISTRIES
        for maker, program in MAKERS.items()
        for kind in Kind
        if kind not in LACKS[registry]
        if kind not in program.cannot_write or kind not in program.cannot_read
    ]


class Scene:
    """Two registries of one kind and a warm function that copies between them."""

    def __init__(self, kind: str, opened: contextlib.ExitStack, *, has_referrers_api: bool) -> None:
        self.login = f"{USER}:{PASSWORD}" if kind == "zuul-registry" else ""
        self.deletes_tags = kind == "local"
        start = _REGISTRIES[kind]
        self._hosts = [opened.enter_context(start(has_referrers_api)).host for _ in range(2)]
        replicator = Replicator(Settings())
        opened.callback(replicator.close)
        self._function = Function(ReplicationResource(lambda: replicator))

    def target(self, side: int, repository: str) -> Target:
        return Target(self._hosts[side], repository, "1", self.login)

    def replicate(self, source: Target, destination: Target, kind: Kind) -> dict[str, Any]:
        properties = {**PROPERTIES.get(kind, {}), **self._credentials()}
        return self._function.create(source.name, destination.name, **properties)

    def untag(self, physical_id: str, destination: Target) -> dict[str, Any]:
        return self._function.delete(
            physical_id, destination.name, OnDelete="Untag", **self._credentials()
        )

    def _credentials(self) -> dict[str, str]:
        return {"DestCreds": self.login} if self.login else {}


@pytest.fixture(scope="module")
def scenes() -> Iterator[Callable[[str, Kind], Scene]]:
    """Registries, which are started on first use and shared by all cells."""
    started: dict[tuple[str, bool], Scene] = {}
    with contextlib.ExitStack() as opened:

        def scene(registry: str, kind: Kind) -> Scene:
            has_api = kind is not Kind.FALLBACK_TAG
            key = (registry, has_api or registry != "local")
            if key not in started:
                started[key] = Scene(registry, opened, has_referrers_api=has_api)
            return started[key]

        yield scene


@pytest.fixture(scope="module")
def makers() -> Iterator[dict[str, Maker]]:
    # podman requires short paths
    with tempfile.TemporaryDirectory(prefix="makers-") as directory:
        for name in MAKERS:
            (Path(directory) / name).mkdir()
        yield {name: maker(Path(directory) / name) for name, maker in MAKERS.items()}


@pytest.mark.parametrize(("registry", "maker", "kind"), _cells())
def test_content_of_a_maker_is_copied_unchanged(
    scenes: Callable[[str, Kind], Scene],
    makers: Mapping[str, Maker],
    registry: str,
    maker: str,
    kind: Kind,
) -> None:
    program, scene = makers[maker], scenes(registry, kind)
    source = scene.target(0, f"{maker}/{kind.value}")
    destination = scene.target(1, f"{maker}/{kind.value}-copy")
    writer = makers["skopeo"] if kind in program.cannot_write else program
    writer.write(kind, source)
    pushed = skopeo_inspect_raw(source.url)
    attached = _attach(makers, kind, source, pushed)

    response = scene.replicate(source, destination, kind)
    again = scene.replicate(source, destination, kind)

    assert response["Status"] == "SUCCESS", response["Reason"]
    assert again["Data"]["Changed"] == "false", again
    copied = skopeo_inspect_raw(destination.url)
    assert response["Data"]["ImageDigest"] == _digest(copied)
    if kind is Kind.SUBSET:
        assert _children(copied) == _children(pushed)[:2]
    else:
        assert copied == pushed
    for child in _children(copied):
        reference = f"@{child}"
        assert _read(destination, reference) == _read(source, reference)
    if attached:
        assert response["Data"]["ReferrersCopied"] == "1"
        assert _read(destination, f"@{_digest(attached)}") == attached
    if kind not in program.cannot_read:
        with tempfile.TemporaryDirectory(prefix="read-") as directory:
            program.read(kind, destination, Path(directory))

    untagged = scene.untag(response["PhysicalResourceId"], destination)

    assert (untagged["Status"] == "SUCCESS") is scene.deletes_tags
    if scene.deletes_tags:
        with pytest.raises(subprocess.CalledProcessError, match="inspect"):
            skopeo_inspect_raw(destination.url)
    else:
        assert "the registry does not support deleting tags" in untagged["Reason"]
        assert skopeo_inspect_raw(destination.url) == copied


def _attach(makers: Mapping[str, Maker], kind: Kind, source: Target, subject: bytes) -> bytes:
    """Attach an SBOM to content of a kind with referrers, and return its manifest."""
    oras, skopeo = makers["oras"], makers["skopeo"]
    assert isinstance(oras, Oras)
    assert isinstance(skopeo, Skopeo)
    if kind is Kind.REFERRERS_API:
        oras.attach(source.at("sbom"), subject)
        return skopeo_inspect_raw(source.at("sbom").url)
    if kind is Kind.FALLBACK_TAG:
        media_type = json.loads(subject).get("mediaType", OCI_MANIFEST)
        referrer = sbom(Image(subject, media_type, digest_of(subject), b"", {}))
        skopeo.copy(fallback_index([referrer]), source.at(fallback_tag(digest_of(subject))))
        return referrer.manifest
    return b""


def _read(target: Target, reference: str) -> bytes:
    return skopeo_inspect_raw(f"docker://{target.host}/{target.repository}{reference}")


def _children(manifest: bytes) -> list[str]:
    return [child["digest"] for child in json.loads(manifest).get("manifests", [])]


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@pytest.mark.parametrize("registry", _REGISTRIES)
def test_registries_without_the_referrers_api(
    scenes: Callable[[str, Kind], Scene], registry: str
) -> None:
    host = scenes(registry, Kind.REFERRERS_API).target(0, "app").host
    connection = http.client.HTTPConnection(host, timeout=30)
    connection.request("GET", f"/v2/app/referrers/sha256:{'0' * 64}")
    status = connection.getresponse().status
    connection.close()

    assert (status == 200) is (Kind.REFERRERS_API not in LACKS[registry])


@pytest.mark.parametrize("maker", MAKERS)
def test_a_maker_supports_each_kind_or_has_a_reason(maker: str) -> None:
    program = MAKERS[maker]
    for stated in (program.cannot_write, program.cannot_read):
        assert all(stated.values())
        assert set(stated) < set(Kind)
