"""Signatures, SBOMs and attestations in the formats of cosign and BuildKit, with real keys."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from local.images import (
    Content,
    Image,
    Index,
    build_artifact,
    build_image,
    build_index,
    build_layer,
    push,
)
from local.registry import RegistryServer
from local.registry.digests import Digest, digest_of
from tests.functional.conftest import Function

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE_TYPE = "application/vnd.dev.cosign.artifact.sig.v1+json"
BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
SBOM_TYPE = "application/spdx+json"


def pem(key: PrivateKey) -> str:
    """Return the public key in PEM, as `cosign public-key` prints it."""
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def sign(key: PrivateKey, message: bytes) -> bytes:
    """Sign as cosign does by default: with SHA-256 for every type of key."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(message, ec.ECDSA(hashes.SHA256()))
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(message, padding.PKCS1v15(), hashes.SHA256())
    return key.sign(message)


def payload(digest: str, **critical: Any) -> bytes:
    """Return what cosign signs: a claim about a digest (simple signing)."""
    claim = {
        "identity": {"docker-reference": "registry.example/team/app"},
        "image": {"docker-manifest-digest": digest},
        "type": "cosign container image signature",
        **critical,
    }
    return json.dumps({"critical": claim, "optional": None}).encode()


def signature(key: PrivateKey, digest: str) -> tuple[bytes, str]:
    """Return a payload about the digest, and its signature in base64."""
    return signed(key, payload(digest))


def signed(key: PrivateKey, content: bytes) -> tuple[bytes, str]:
    """Return a payload and its signature in base64."""
    return content, base64.b64encode(sign(key, content)).decode()


def signatures(each: Iterable[tuple[bytes, str]], *, subject: Content | None = None) -> Image:
    """Build cosign's manifest of signatures, with a subject for the referrers API."""
    pairs = list(each)
    layers = [
        {
            "mediaType": SIMPLE_SIGNING,
            "digest": digest_of(content),
            "size": len(content),
            "annotations": {"dev.cosignproject.cosign/signature": text},
        }
        for content, text in pairs
    ]
    diff_ids = [layer["digest"] for layer in layers]
    config = json.dumps(
        {"architecture": "", "os": "", "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    ).encode()
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {
            "mediaType": SIGNATURE_TYPE if subject else OCI_CONFIG,
            "digest": digest_of(config),
            "size": len(config),
        },
        "layers": layers,
    }
    if subject is not None:
        document["subject"] = _descriptor(subject)
    manifest = json.dumps(document).encode()
    return Image(
        manifest=manifest,
        media_type=OCI_MANIFEST,
        digest=digest_of(manifest),
        config=config,
        blobs={digest_of(each): each for each in (config, *(content for content, _ in pairs))},
        artifact_type=SIGNATURE_TYPE if subject else None,
    )


def bundle(
    key: PrivateKey,
    digest: str,
    subject: Content,
    predicate: str = "https://sigstore.dev/cosign/sign/v1",
    **fields: Any,
) -> Image:
    """Build a referrer with a bundle, as cosign 3 does: a signed statement about the digest."""
    algorithm, _, encoded = digest.partition(":")
    statement = json.dumps(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"digest": {algorithm: encoded}, "annotations": {}}],
            "predicateType": predicate,
            "predicate": {},
        }
    ).encode()
    kind = "application/vnd.in-toto+json"
    message = f"DSSEv1 {len(kind)} {kind} {len(statement)} ".encode() + statement
    content = {
        "mediaType": BUNDLE_TYPE,
        "verificationMaterial": {"publicKey": {"hint": "x"}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(statement).decode(),
            "payloadType": kind,
            "signatures": [{"sig": base64.b64encode(sign(key, message)).decode()}],
        },
        **fields,
    }
    return build_artifact(
        BUNDLE_TYPE,
        [(BUNDLE_TYPE, json.dumps(content).encode())],
        subject=subject,
        annotations={"dev.sigstore.bundle.predicateType": predicate},
    )


def cosign_tag(digest: str, kind: str = "sig") -> str:
    return f"{digest.replace(':', '-')}.{kind}"


def fallback_tag(digest: str) -> str:
    return digest.replace(":", "-")


def sbom(subject: Content, text: bytes = b"{}", **annotations: str) -> Image:
    """Build an SBOM with a subject, as `oras attach` does."""
    return build_artifact(
        SBOM_TYPE, [(SBOM_TYPE, text)], subject=subject, annotations=annotations or None
    )


def attestation(image: Image) -> tuple[Image, Mapping[str, str]]:
    """Build BuildKit's attestation manifest for an image, and its annotations in the index."""
    statement = json.dumps(
        {"_type": "https://in-toto.io/Statement/v0.1", "subject": [{"digest": image.digest}]}
    ).encode()
    manifest = build_artifact(
        "",
        [("application/vnd.in-toto+json", statement)],
        config=(OCI_CONFIG, b'{"architecture":"unknown","os":"unknown"}'),
    )
    annotations = {
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": image.digest,
    }
    return dataclasses.replace(
        manifest, platform="unknown/unknown", artifact_type=None
    ), annotations


def index_of(
    children: Sequence[Content], entries: Sequence[Mapping[str, Any]], **fields: Any
) -> Index:
    """Build an index whose entries have these fields besides media type, digest and size."""
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [
            {**_descriptor(child), **entry} for child, entry in zip(children, entries, strict=True)
        ],
        **fields,
    }
    manifest = json.dumps(document).encode()
    return Index(manifest, document["mediaType"], digest_of(manifest), tuple(children))


def fallback_index(referrers: Iterable[Image]) -> Index:
    """Build the index that a fallback tag refers to."""
    listed = list(referrers)
    return index_of(
        listed,
        [{"artifactType": each.artifact_type} if each.artifact_type else {} for each in listed],
    )


def listed_digests(index: bytes) -> set[Digest]:
    return {each["digest"] for each in json.loads(index)["manifests"]}


def copy(
    function: Function,
    source: RegistryServer,
    destination: RegistryServer,
    **properties: Any,
) -> dict[str, Any]:
    return function.create(
        f"{source.host}/team/app:1",
        f"{destination.host}/mirror/app:1",
        **{"CopyReferrers": "true", **properties},
    )


def referrers(registry: RegistryServer, subject: str, repository: str = "mirror/app") -> set[str]:
    """Return the digests of all manifests with this subject, whether they are listed or not."""
    return {
        manifest.digest
        for manifest in registry.store.manifests(repository)
        if (manifest.document.get("subject") or {}).get("digest") == subject
    }


def manifest_puts(registry: RegistryServer) -> list[str]:
    return [
        entry.path.rpartition("/")[2]
        for entry in registry.requests
        if entry.method == "PUT" and "/manifests/" in entry.path
    ]


def two_platforms() -> tuple[list[Image], Index]:
    images = [
        build_image([build_layer(100, seed=number)], platform)
        for number, platform in enumerate(("linux/amd64", "linux/arm64"))
    ]
    return images, build_index(images)


def _descriptor(content: Content) -> dict[str, Any]:
    return {
        "mediaType": content.media_type,
        "digest": content.digest,
        "size": len(content.manifest),
    }


@dataclasses.dataclass(frozen=True, slots=True)
class SignedCopy:
    """A function, a source with an image, and a destination, for copies that verify signatures."""

    function: Function
    source: RegistryServer
    destination: RegistryServer

    def copy(self, key: str, **properties: Any) -> dict[str, Any]:
        return self.function.create(
            f"{self.source.host}/team/app:1",
            f"{self.destination.host}/mirror/app:1",
            VerifySignatureKey=key,
            **properties,
        )

    def tag_signatures(self, subject: Content, *each: tuple[bytes, str]) -> Image:
        """Push signatures to cosign's tag, as `cosign sign` does."""
        manifest = signatures(each)
        push(manifest, self.source.host, "team/app", cosign_tag(subject.digest))
        return manifest

    def attach_signatures(self, subject: Content, *each: tuple[bytes, str]) -> Image:
        """Push signatures as a referrer, as cosign does for OCI 1.1 registries."""
        manifest = signatures(each, subject=subject)
        push(manifest, self.source.host, "team/app")
        return manifest

    def assert_rejected(self, response: dict[str, Any], found: str) -> None:
        assert response["Status"] == "FAILED", response
        assert f"(found {found})" in response["Reason"]
        assert self.destination.store.repositories == ()
        assert {entry.method for entry in self.destination.requests} <= {"GET", "HEAD"}
