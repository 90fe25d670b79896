"""Other registries and misconfigured reverse proxies: eight kinds of content, both ways."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme
from local.images import (
    Content,
    Image,
    build_artifact,
    build_image,
    build_index,
    build_layer,
    place,
)
from local.registry import RegistryServer
from tests.functional.conftest import Function
from tests.functional.cosign_fixtures import fallback_index, fallback_tag, referrers, sbom
from tests.interop.nginx import MISCONFIGURATIONS, Nginx
from tests.interop.registries import PASSWORD, USER, DockerRegistry, skopeo_inspect_raw
from tests.interop.zuul_registry import ZuulRegistry

from custom_resource.resource import ReplicationResource
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.settings import Settings

LOGIN = f"{USER}:{PASSWORD}"
WHOLE_INDEX = {"CopyImageIndex": "true"}
WITH_REFERRERS = {"CopyReferrers": "required"}


@dataclass(frozen=True, slots=True)
class Subject:
    """An image or artifact with its referrers and the properties that copy it."""

    content: Content
    referrers: tuple[Image, ...] = ()
    has_referrers_api: bool = True
    properties: dict[str, str] = field(default_factory=dict)

    def place(self, registry: RegistryServer) -> None:
        place(self.content, registry.store, "app", "1")
        for referrer in self.referrers:
            place(referrer, registry.store, "app")
        if self.referrers and not self.has_referrers_api:
            tag = fallback_tag(self.content.digest)
            place(fallback_index(self.referrers), registry.store, "app", tag)


def _image(seed: int, platform: str = "linux/amd64", **options: Any) -> Image:
    shared = build_layer(5000, seed=99)
    return build_image([build_layer(20_000, seed=seed), shared], platform, **options)


def _subjects() -> dict[str, Subject]:
    amd64, arm64, s390x = (
        _image(seed, f"linux/{name}") for seed, name in enumerate(("amd64", "arm64", "s390x"))
    )
    docker = [_image(seed, f"linux/{seed}", format="docker") for seed in (3, 4)]
    signed = _image(5)
    subset = build_index([amd64, arm64, s390x])
    return {
        "single": Subject(_image(6)),
        "Docker format": Subject(_image(7, format="docker")),
        "index": Subject(build_index([amd64, arm64]), properties=WHOLE_INDEX),
        "manifest list": Subject(build_index(docker, "docker"), properties=WHOLE_INDEX),
        "subset": Subject(subset, properties={"Platforms": "linux/amd64,linux/arm64"}),
        "artifact": Subject(build_artifact("application/x-test", [("text/plain", b"hello")])),
        "referrers API": Subject(signed, (sbom(signed),), properties=WITH_REFERRERS),
        "fallback tag": Subject(
            signed, (sbom(signed),), has_referrers_api=False, properties=WITH_REFERRERS
        ),
    }


SUBJECTS = _subjects()


@dataclass(frozen=True, slots=True)
class OtherRegistry:
    """Another running registry and a function that can access it."""

    host: str
    function: Function
    login: str = ""

    def push(self, source: str, repository: str, **properties: str) -> dict[str, Any]:
        login = {"DestCreds": self.login} if self.login else {}
        return self.function.create(source, f"{self.host}/{repository}:1", **login, **properties)

    def untag(self, response: dict[str, Any], repository: str) -> dict[str, Any]:
        login = {"DestCreds": self.login} if self.login else {}
        return self.function.delete(
            response["PhysicalResourceId"],
            f"{self.host}/{repository}:1",
            OnDelete="Untag",
            **login,
        )

    def read(self, repository: str) -> bytes:
        return skopeo_inspect_raw(f"docker://{self.host}/{repository}:1")


@pytest.fixture(scope="module", params=["zuul-registry", *MISCONFIGURATIONS])
def other_registry(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OtherRegistry]:
    with contextlib.ExitStack() as opened:
        if request.param == "zuul-registry":
            host, login = opened.enter_context(ZuulRegistry()).host, LOGIN
        else:
            misconfiguration = MISCONFIGURATIONS[request.param]
            certificate = _certificate(tmp_path_factory.mktemp("tls"), opened)
            upstream = opened.enter_context(DockerRegistry()).host
            proxy = Nginx(upstream, misconfiguration, certificate)
            host, login = opened.enter_context(proxy).host, ""
        replicator = Replicator(Settings())
        opened.callback(replicator.close)
        yield OtherRegistry(host, Function(ReplicationResource(lambda: replicator)), login)


def _certificate(directory: Path, opened: contextlib.ExitStack) -> Path:
    """Write a certificate with its key and configure trust in its authority."""
    authority = trustme.CA()
    certificate, trusted = directory / "certificate.pem", directory / "authority.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(certificate))
    authority.cert_pem.write_to_path(str(trusted))
    patch = opened.enter_context(pytest.MonkeyPatch.context())
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        patch.delenv(name, raising=False)
    patch.setenv("SSL_CERT_FILE", str(trusted))
    return certificate


@pytest.mark.parametrize("kind", SUBJECTS)
def test_content_is_pushed_and_pulled_unchanged(other_registry: OtherRegistry, kind: str) -> None:
    subject = SUBJECTS[kind]
    repository = f"in/{kind.lower().replace(' ', '-')}"
    with (
        RegistryServer(referrers_api=subject.has_referrers_api) as source,
        RegistryServer() as destination,
    ):
        subject.place(source)

        pushed = other_registry.push(f"{source.host}/app:1", repository, **subject.properties)
        again = other_registry.push(f"{source.host}/app:1", repository, **subject.properties)

        assert pushed["Status"] == "SUCCESS", pushed["Reason"]
        assert again["Data"]["Changed"] == "false", again
        raw = other_registry.read(repository)
        assert pushed["Data"]["ImageDigest"] == f"sha256:{hashlib.sha256(raw).hexdigest()}"
        if kind != "subset":
            assert raw == subject.content.manifest

        target = f"{destination.host}/out:1"
        properties = WHOLE_INDEX if kind == "subset" else subject.properties
        pulled = other_registry.function.create(
            f"{other_registry.host}/{repository}:1", target, **properties
        )

        assert pulled["Status"] == "SUCCESS", pulled["Reason"]
        assert destination.store.manifest("out", "1").content == raw
        found = referrers(destination, subject.content.digest, "out")
        assert found == {each.digest for each in subject.referrers}


def test_a_tag_that_cannot_be_deleted_is_reported(other_registry: OtherRegistry) -> None:
    with RegistryServer() as source:
        SUBJECTS["single"].place(source)
        pushed = other_registry.push(f"{source.host}/app:1", "kept")
        assert pushed["Status"] == "SUCCESS", pushed["Reason"]

        deleted = other_registry.untag(pushed, "kept")

    assert deleted["Status"] == "FAILED"
    assert "the registry does not support deleting tags" in deleted["Reason"]
    assert other_registry.read("kept") == SUBJECTS["single"].content.manifest


def test_a_large_blob_is_copied_or_the_body_size_limit_is_in_the_error(
    other_registry: OtherRegistry, request: pytest.FixtureRequest
) -> None:
    image = build_image([build_layer(3 * 1024 * 1024, seed=50)])
    with RegistryServer() as source:
        place(image, source.store, "app", "1")

        pushed = other_registry.push(f"{source.host}/app:1", "large")

    if "1 MiB" in request.node.callspec.params["other_registry"]:
        assert pushed["Status"] == "FAILED"
        assert "request too large (413 " in pushed["Reason"]
        assert "client_max_body_size" in pushed["Reason"]
    else:
        assert pushed["Status"] == "SUCCESS", pushed["Reason"]
        assert other_registry.read("large") == image.manifest
