"""VerifySignatureKey: accepted signatures, and the message for rejected ones."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from local.images import Image, build_image, build_index, build_layer, push
from local.registry import RegistryServer
from local.registry.digests import digest_of
from tests.functional.conftest import Function
from tests.functional.cosign_fixtures import (
    PrivateKey,
    SignedCopy,
    bundle,
    cosign_tag,
    fallback_index,
    fallback_tag,
    payload,
    pem,
    referrers,
    sbom,
    signature,
    signed,
)

Start = Callable[..., RegistryServer]
KEY = ec.generate_private_key(ec.SECP256R1())
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())
SHORT_KEY = rsa.generate_private_key(65537, 1024)  # noqa: S505 - rejected as too short
ELSEWHERE = "sha256:" + "0" * 64


@pytest.fixture
def image() -> Image:
    return build_image([build_layer(2000, seed=6)])


@pytest.fixture
def signed_copy(function: Function, registries: Start, image: Image) -> SignedCopy:
    source, destination = registries(), registries()
    push(image, source.host, "team/app", "1")
    return SignedCopy(function, source, destination)


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(65537, 2048),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=["P-256", "P-384", "RSA", "Ed25519"],
)
@pytest.mark.parametrize("layout", ["tag", "referrer"])
def test_an_image_with_a_valid_signature_is_copied(
    signed_copy: SignedCopy, image: Image, key: PrivateKey, layout: str
) -> None:
    put = signed_copy.tag_signatures if layout == "tag" else signed_copy.attach_signatures
    put(image, signature(key, image.digest))

    response = signed_copy.copy(pem(key))

    assert response["Status"] == "SUCCESS", response
    assert signed_copy.destination.store.tags("mirror/app") == {"1": image.digest}


@pytest.mark.parametrize("is_typed", [True, False])
def test_a_signature_is_found_by_the_fallback_tag(
    function: Function, registries: Start, image: Image, *, is_typed: bool
) -> None:
    signed_copy = SignedCopy(function, registries(referrers_api=False), registries())
    push(image, signed_copy.source.host, "team/app", "1")
    attached = signed_copy.attach_signatures(image, signature(KEY, image.digest))
    # some clients write the fallback tag without artifactType
    listed = attached if is_typed else dataclasses.replace(attached, artifact_type=None)
    index = fallback_index([sbom(image), listed])
    push(index, signed_copy.source.host, "team/app", fallback_tag(image.digest))

    assert signed_copy.copy(pem(KEY))["Status"] == "SUCCESS"


def test_only_signatures_are_requested_among_the_referrers(
    signed_copy: SignedCopy, image: Image
) -> None:
    push(sbom(image), signed_copy.source.host, "team/app")
    signed_copy.attach_signatures(image, signature(KEY, image.digest))
    signed_copy.source.clear_requests()

    assert signed_copy.copy(pem(KEY))["Status"] == "SUCCESS"

    (listing,) = [entry for entry in signed_copy.source.requests if "/referrers/" in entry.path]
    assert listing.parameters == {"artifactType": "application/vnd.dev.cosign.artifact.sig.v1+json"}
    # the HEAD of the tag; then the manifest, cosign's tag, the list, the signature's manifest and
    # payload, the image's config and layer
    assert Counter(each.method for each in signed_copy.source.requests) == Counter(HEAD=1, GET=7)


def test_the_signature_of_a_source_pinned_by_sha512_is_found_by_its_sha256(
    signed_copy: SignedCopy, image: Image
) -> None:
    signed_copy.tag_signatures(image, signature(KEY, image.digest))
    digest = digest_of(image.manifest, "sha512")
    signed_copy.source.store.put_manifest("team/app", digest, image.manifest, image.media_type)
    pinned = f"{signed_copy.source.host}/team/app@{digest}"
    destination = f"{signed_copy.destination.host}/mirror/app:1"
    create = signed_copy.function.create

    assert create(pinned, destination, VerifySignatureKey=pem(KEY))["Status"] == "SUCCESS"
    rejected = create(pinned, destination, VerifySignatureKey=pem(OTHER_KEY))
    assert "found 1 by another key" in rejected["Reason"], rejected


def test_one_valid_signature_is_sufficient(signed_copy: SignedCopy, image: Image) -> None:
    signed_copy.tag_signatures(
        image,
        signature(OTHER_KEY, image.digest),
        signature(KEY, ELSEWHERE),
        signature(KEY, image.digest),
    )
    assert signed_copy.copy(pem(KEY))["Status"] == "SUCCESS"


def test_a_valid_signature_in_one_of_two_layouts_is_sufficient(
    signed_copy: SignedCopy, image: Image
) -> None:
    signed_copy.tag_signatures(image, signature(OTHER_KEY, image.digest))
    signed_copy.attach_signatures(image, signature(KEY, image.digest))
    assert signed_copy.copy(pem(KEY))["Status"] == "SUCCESS"


def test_deleted_signatures_do_not_hide_a_valid_one(
    function: Function, registries: Start, image: Image
) -> None:
    signed_copy = SignedCopy(function, registries(referrers_api=False), registries())
    host, store = signed_copy.source.host, signed_copy.source.store
    push(image, host, "team/app", "1")
    gone, valid = (bundle(key, image.digest, image) for key in (OTHER_KEY, KEY))
    push(fallback_index([gone, valid]), host, "team/app", fallback_tag(image.digest))
    store.delete_manifest("team/app", gone.digest)
    tagged = signature(OTHER_KEY, image.digest)
    signed_copy.tag_signatures(image, tagged)
    store.delete_blob("team/app", digest_of(tagged[0]))

    rejected = signed_copy.copy(pem(ec.generate_private_key(ec.SECP256R1())))
    signed_copy.assert_rejected(rejected, "2 that cannot be read, 1 by another key")
    assert signed_copy.copy(pem(KEY))["Status"] == "SUCCESS"


@pytest.mark.parametrize("key", [KEY, rsa.generate_private_key(65537, 2048)])
def test_an_image_with_a_valid_bundle_is_copied(
    signed_copy: SignedCopy, image: Image, key: PrivateKey
) -> None:
    push(bundle(key, image.digest, image), signed_copy.source.host, "team/app")
    assert signed_copy.copy(pem(key))["Status"] == "SUCCESS"


def test_the_message_counts_invalid_bundles_by_reason(
    signed_copy: SignedCopy, image: Image
) -> None:
    for each in (
        bundle(OTHER_KEY, image.digest, image),
        bundle(KEY, ELSEWHERE, image),
        bundle(KEY, image.digest, image, dsseEnvelope={}),
        bundle(KEY, image.digest, image, dsseEnvelope=None),
    ):
        push(each, signed_copy.source.host, "team/app")
    signed_copy.assert_rejected(
        signed_copy.copy(pem(KEY)),
        "1 by another key, 1 by this key for another digest, 2 malformed",
    )


def test_an_attestation_is_not_accepted_as_a_signature(
    signed_copy: SignedCopy, image: Image
) -> None:
    honest = bundle(KEY, image.digest, image, "https://slsa.dev/provenance/v1")
    push(honest, signed_copy.source.host, "team/app")
    document = json.loads(honest.manifest)
    document["annotations"] = {}
    manifest = json.dumps(document).encode()
    unmarked = dataclasses.replace(honest, manifest=manifest, digest=digest_of(manifest))
    push(unmarked, signed_copy.source.host, "team/app")
    signed_copy.assert_rejected(signed_copy.copy(pem(KEY)), "no signature")


def test_an_image_without_signatures_is_not_copied(signed_copy: SignedCopy, image: Image) -> None:
    response = signed_copy.copy(pem(KEY))

    signed_copy.assert_rejected(response, "no signature")
    assert f"team/app:1: no valid signature of {image.digest} by" in response["Reason"]


@pytest.mark.parametrize("layout", ["tag", "referrer"])
def test_the_message_counts_invalid_signatures_by_reason(
    signed_copy: SignedCopy, image: Image, layout: str
) -> None:
    content, text = signature(KEY, image.digest)
    put = signed_copy.tag_signatures if layout == "tag" else signed_copy.attach_signatures
    put(
        image,
        signature(OTHER_KEY, image.digest),
        (content.replace(b"team", b"evil"), text),
        signature(KEY, ELSEWHERE),
        (content, "not base64!"),
        (content, ""),
    )

    signed_copy.assert_rejected(
        signed_copy.copy(pem(KEY)),
        "2 by another key, 1 by this key for another digest, 2 malformed",
    )


@pytest.mark.parametrize(
    "content",
    [
        b"not json",
        b"[]",
        b"{}",
        b'{"critical": []}',
        b'{"critical": {"image": "x"}}',
        payload(ELSEWHERE, type="something else"),
    ],
)
def test_a_payload_without_a_claim_is_malformed(
    signed_copy: SignedCopy, image: Image, content: bytes
) -> None:
    signed_copy.tag_signatures(image, signed(KEY, content))
    signed_copy.assert_rejected(signed_copy.copy(pem(KEY)), "1 malformed")


def test_a_payload_with_a_duplicate_claim_is_malformed(
    signed_copy: SignedCopy, image: Image
) -> None:
    # JSON parsers differ in which of two equal keys they use
    digest = f'"image": {{"docker-manifest-digest": "{image.digest}"}}'
    content = payload(ELSEWHERE).replace(b'"type"', digest.encode() + b', "type"')
    signed_copy.tag_signatures(image, signed(KEY, content))
    signed_copy.assert_rejected(signed_copy.copy(pem(KEY)), "1 malformed")


def test_the_signature_of_a_child_image_is_not_accepted_for_the_index(
    signed_copy: SignedCopy, image: Image
) -> None:
    index = build_index([image])
    push(index, signed_copy.source.host, "team/app", "1")
    signed_copy.tag_signatures(image, signature(KEY, image.digest))
    response = signed_copy.copy(pem(KEY))
    signed_copy.assert_rejected(response, "no signature")
    assert index.digest in response["Reason"]

    signed_copy.tag_signatures(index, signature(KEY, index.digest))
    assert signed_copy.copy(pem(KEY))["Data"]["ImageDigest"] == image.digest


def test_the_signature_of_an_existing_image_is_verified(
    signed_copy: SignedCopy, image: Image
) -> None:
    push(image, signed_copy.destination.host, "mirror/app", "1")
    response = signed_copy.copy(pem(KEY))
    assert response["Status"] == "FAILED"
    assert "found no signature" in response["Reason"]


def test_signatures_are_verified_and_copied(signed_copy: SignedCopy, image: Image) -> None:
    tagged = signed_copy.tag_signatures(image, signature(KEY, image.digest))
    attached = signed_copy.attach_signatures(image, signature(KEY, image.digest))

    response = signed_copy.copy(pem(KEY), CopyReferrers="required")

    assert response["Data"]["ReferrersCopied"] == "2"
    assert referrers(signed_copy.destination, image.digest) == {attached.digest}
    assert (
        signed_copy.destination.store.tags("mirror/app")[cosign_tag(image.digest)] == tagged.digest
    )


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (pem(KEY).replace("\n", " "), ""),
        (pem(KEY).replace("\n", "\\n"), ""),
        (pem(KEY).replace("\n", "\r\n"), ""),
        (pem(KEY)[:80] + "\n-----END PUBLIC KEY-----", "invalid VerifySignatureKey: the base64"),
        ("-----BEGIN PUBLIC KEY-----", "is not a single PEM public key"),
        (pem(KEY) * 2, "is not a single PEM public key"),
        (pem(SHORT_KEY), "type of the public key is not supported"),
        (pem(ec.generate_private_key(ec.SECP256K1())), "type of the public key is not supported"),
    ],
    ids=[
        "spaces",
        "escaped-newlines",
        "crlf",
        "truncated",
        "header-only",
        "two-keys",
        "short-rsa",
        "unsupported-curve",
    ],
)
def test_a_key_is_accepted_with_any_line_breaks_and_an_invalid_key_is_an_early_error(
    signed_copy: SignedCopy, image: Image, key: str, message: str
) -> None:
    signed_copy.tag_signatures(image, signature(KEY, image.digest))
    signed_copy.source.clear_requests()

    response = signed_copy.copy(key)

    assert response["Status"] == ("FAILED" if message else "SUCCESS"), response
    if message:
        assert message in response["Reason"]
        assert signed_copy.source.requests == ()


def test_a_payload_that_is_too_large_or_damaged_is_malformed(
    signed_copy: SignedCopy, image: Image
) -> None:
    large = b" " * 200_000
    content, text = signature(KEY, image.digest)
    manifest = signed_copy.tag_signatures(image, signed(KEY, large), (content, text))
    (layer,) = [each for each, blob in manifest.blobs.items() if blob == content]
    path = signed_copy.source.store.find_blob("team/app", layer)
    assert path is not None
    path.path.write_bytes(content[::-1])
    signed_copy.assert_rejected(signed_copy.copy(pem(KEY)), "2 malformed")


def test_cryptography_is_not_imported_without_verifysignaturekey() -> None:
    script = "import sys, ecr_image_replicator.replicate; print('cryptography' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": os.pathsep.join(sys.path), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout == "False\n"
