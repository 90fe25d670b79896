"""No valid signature of the source's digest, no copy; and the sentence says what was found."""

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
SHORT_KEY = rsa.generate_private_key(65537, 1024)  # noqa: S505 - one that is to be refused
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
def test_a_signature_by_the_key_lets_the_image_in(
    signed_copy: SignedCopy, image: Image, key: PrivateKey, layout: str
) -> None:
    put = signed_copy.tag_signatures if layout == "tag" else signed_copy.attach_signatures
    put(image, signature(key, image.digest))

    response = signed_copy.copy(pem(key))

    assert response["Status"] == "SUCCESS", response
    assert signed_copy.destination.store.tags("mirror/app") == {"1": image.digest}


@pytest.mark.parametrize("is_typed", [True, False])
def test_a_referrer_is_found_by_its_fallback_tag(
    function: Function, registries: Start, image: Image, *, is_typed: bool
) -> None:
    signed_copy = SignedCopy(function, registries(referrers_api=False), registries())
    push(image, signed_copy.source.host, "team/app", "1")
    attached = signed_copy.attach_signatures(image, signature(KEY, image.digest))
    # not every client that writes the tag puts down the type
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
    # the tag; the manifest, cosign's tag, the list, the signature's manifest and payload; the
    # config and the layer of the image
    assert Counter(each.method for each in signed_copy.source.requests) == Counter(HEAD=1, GET=7)


def test_a_source_that_is_pinned_by_its_sha512_is_signed_by_its_sha256(
    signed_copy: SignedCopy, image: Image
) -> None:
    signed_copy.tag_signatures(image, signature(KEY, image.digest))
    digest = digest_of(image.manifest, "sha512")
    signed_copy.source.store.put_manifest("team/app", digest, image.manifest, image.media_type)
    pinned = f"{signed_copy.source.host}/team/app@{digest}"
    destination = f"{signed_copy.destination.host}/mirror/app:1"
    create = signed_copy.function.create

    assert create(pinned, destination, VerifySignatureKey=pem(KEY))["Status"] == "SUCCESS"
    refused = create(pinned, destination, VerifySignatureKey=pem(OTHER_KEY))
    assert "found 1 by another key" in refused["Reason"], refused


def test_one_valid_signature_among_others_is_enough(signed_copy: SignedCopy, image: Image) -> None:
    signed_copy.tag_signatures(
        image,
        signature(OTHER_KEY, image.digest),
        signature(KEY, ELSEWHERE),
        signature(KEY, image.digest),
    )
    assert signed_copy.copy(pem(KEY))["Status"] == "SUCCESS"


def test_a_valid_signature_in_the_second_layout_is_enough(
    signed_copy: SignedCopy, image: Image
) -> None:
    signed_copy.tag_signatures(image, signature(OTHER_KEY, image.digest))
    signed_copy.attach_signatures(image, signature(KEY, image.digest))
    assert signed_copy.copy(pem(KEY))["Status"] == "SUCCESS"


@pytest.mark.parametrize("key", [KEY, rsa.generate_private_key(65537, 2048)])
def test_a_signature_in_a_bundle_lets_the_image_in(
    signed_copy: SignedCopy, image: Image, key: PrivateKey
) -> None:
    push(bundle(key, image.digest, image), signed_copy.source.host, "team/app")
    assert signed_copy.copy(pem(key))["Status"] == "SUCCESS"


def test_bundles_that_are_invalid_are_counted_by_what_is_wrong_with_them(
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


def test_an_attestation_is_no_signature_even_when_its_list_says_so(
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
def test_signatures_that_are_invalid_are_counted_by_what_is_wrong_with_them(
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
def test_a_payload_that_claims_nothing_is_malformed(
    signed_copy: SignedCopy, image: Image, content: bytes
) -> None:
    signed_copy.tag_signatures(image, signed(KEY, content))
    signed_copy.assert_rejected(signed_copy.copy(pem(KEY)), "1 malformed")


def test_a_claim_that_stands_twice_is_malformed(signed_copy: SignedCopy, image: Image) -> None:
    # two readers could see two different digests
    digest = f'"image": {{"docker-manifest-digest": "{image.digest}"}}'
    content = payload(ELSEWHERE).replace(b'"type"', digest.encode() + b', "type"')
    signed_copy.tag_signatures(image, signed(KEY, content))
    signed_copy.assert_rejected(signed_copy.copy(pem(KEY)), "1 malformed")


def test_a_signature_of_an_image_in_the_index_is_not_one_of_the_index(
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


def test_an_image_that_exists_is_checked_too(signed_copy: SignedCopy, image: Image) -> None:
    push(image, signed_copy.destination.host, "mirror/app", "1")
    response = signed_copy.copy(pem(KEY))
    assert response["Status"] == "FAILED"
    assert "found no signature" in response["Reason"]


def test_signatures_can_be_checked_and_brought_along(signed_copy: SignedCopy, image: Image) -> None:
    tagged = signed_copy.tag_signatures(image, signature(KEY, image.digest))
    attached = signed_copy.attach_signatures(image, signature(KEY, image.digest))

    response = signed_copy.copy(pem(KEY), CopyReferrers="required")

    assert response["Data"]["ReferrersCopied"] == "2"
    assert referrers(signed_copy.destination, image.digest) == {attached.digest}
    assert (
        signed_copy.destination.store.tags("mirror/app")[cosign_tag(image.digest)] == tagged.digest
    )


@pytest.mark.parametrize(
    ("key", "sentence"),
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
    ids=["spaces", "escapes", "crlf", "cut", "head", "two", "short-rsa", "another-curve"],
)
def test_a_key_survives_its_way_through_a_parameter_or_is_rejected_before_anything_is_read(
    signed_copy: SignedCopy, image: Image, key: str, sentence: str
) -> None:
    signed_copy.tag_signatures(image, signature(KEY, image.digest))
    signed_copy.source.clear_requests()

    response = signed_copy.copy(key)

    assert response["Status"] == ("FAILED" if sentence else "SUCCESS"), response
    if sentence:
        assert sentence in response["Reason"]
        assert signed_copy.source.requests == ()


def test_a_payload_that_is_too_large_or_not_what_was_signed_is_malformed(
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


def test_a_copy_that_wants_no_signature_does_not_load_cryptography() -> None:
    script = "import sys, ecr_image_replicator.replicate; print('cryptography' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": os.pathsep.join(sys.path), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout == "False\n"
