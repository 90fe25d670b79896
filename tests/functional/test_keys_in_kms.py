"""Signatures verified with keys in moto's KMS."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from local.images import Image, build_image, build_layer, push
from local.registry import RegistryServer
from tests.functional.conftest import Function
from tests.functional.cosign_fixtures import SignedCopy, payload, signature
from tests.moto_server import running_moto

Start = Callable[..., RegistryServer]
KEY = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def image() -> Image:
    return build_image([build_layer(2000, seed=6)])


@pytest.fixture
def signed_copy(function: Function, registries: Start, image: Image) -> SignedCopy:
    source, destination = registries(), registries()
    push(image, source.host, "team/app", "1")
    return SignedCopy(function, source, destination)


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    """A KMS server for all tests of the module: it takes half a second to stop."""
    with running_moto() as url:
        yield url


@pytest.fixture
def kms(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in {
        "AWS_ENDPOINT_URL": moto_url,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }.items():
        monkeypatch.setenv(name, value)
    return boto3.client("kms")


@pytest.mark.parametrize(
    ("spec", "algorithm"),
    [
        ("ECC_NIST_P256", "ECDSA_SHA_256"),
        ("ECC_NIST_P384", "ECDSA_SHA_384"),
        ("RSA_2048", "RSASSA_PKCS1_V1_5_SHA_256"),
        ("RSA_2048", "RSASSA_PSS_SHA_512"),
    ],
)
def test_a_signature_is_verified_with_a_kms_key(
    signed_copy: SignedCopy, image: Image, kms: Any, spec: str, algorithm: str
) -> None:
    arn = kms.create_key(KeySpec=spec, KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
    content = payload(image.digest)
    signed = kms.sign(KeyId=arn, Message=content, MessageType="RAW", SigningAlgorithm=algorithm)
    signed_copy.tag_signatures(image, (content, base64.b64encode(signed["Signature"]).decode()))

    response = signed_copy.copy(arn)

    assert response["Status"] == "SUCCESS", response


def test_the_message_names_a_kms_key_that_did_not_sign_the_image(
    signed_copy: SignedCopy, image: Image, kms: Any
) -> None:
    arn = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
    signed_copy.tag_signatures(image, signature(KEY, image.digest))
    response = signed_copy.copy(arn)
    signed_copy.assert_rejected(response, "1 by another key")
    assert f"by the KMS key {arn}" in response["Reason"]


def test_an_unusable_kms_key_is_an_error_before_anything_is_pulled(
    signed_copy: SignedCopy, kms: Any
) -> None:
    absent = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    symmetric = kms.create_key()["KeyMetadata"]["Arn"]
    signed_copy.source.clear_requests()
    for arn in (absent, symmetric):
        response = signed_copy.copy(arn)
        assert response["Status"] == "FAILED"
        assert arn in response["Reason"]
        assert "NotFoundException" in response["Reason"] or "SIGN_VERIFY" in response["Reason"]
    assert signed_copy.source.requests == ()


def test_an_unreachable_kms_is_an_error_before_anything_is_pulled(
    signed_copy: SignedCopy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    signed_copy.source.clear_requests()
    arn = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    response = signed_copy.copy(arn, RetryConfigs={"numAttempts": 1})
    assert response["Status"] == "FAILED"
    assert (
        f"cannot read the public key of {arn} in VerifySignatureKey: kms:GetPublicKey failed: "
        "cannot connect to the service" in response["Reason"]
    )
    assert signed_copy.source.requests == ()
