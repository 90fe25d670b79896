"""Referrers that cannot be copied, and how they are reported."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from local.images import Image, build_image, build_layer, push
from local.registry import (
    ErrorCode,
    Manifest,
    RegistryError,
    RegistryServer,
    SpecificationPolicy,
    Store,
)
from tests.functional.conftest import Function
from tests.functional.cosign_fixtures import (
    copy,
    cosign_tag,
    fallback_index,
    fallback_tag,
    referrers,
    sbom,
    signatures,
)

Start = Callable[..., RegistryServer]


@pytest.fixture
def image() -> Image:
    return build_image([build_layer(2000, seed=5)])


class RejectedReferrersPolicy(SpecificationPolicy):
    """A registry that rejects manifests with a subject, by default with a permanent status."""

    def __init__(self, status: int = 405) -> None:
        self.status = status

    def before_manifest(
        self,
        repository: str,  # noqa: ARG002 - overrides
        reference: str,  # noqa: ARG002 - overrides
        manifest: Manifest,
        store: Store,  # noqa: ARG002 - overrides
    ) -> None:
        if manifest.document.get("subject"):
            raise RegistryError(
                ErrorCode.UNSUPPORTED, "subjects are not supported", status=self.status
            )


def test_a_rejected_referrer_is_reported(
    function: Function, registries: Start, image: Image, caplog: pytest.LogCaptureFixture
) -> None:
    source, destination = registries(), registries(policy=RejectedReferrersPolicy())
    push(image, source.host, "team/app", "1")
    attached = sbom(image)
    push(attached, source.host, "team/app")
    push(signatures([(b"{}", "x")]), source.host, "team/app", cosign_tag(image.digest))

    response = copy(function, source, destination)

    assert response["Status"] == "SUCCESS", response
    assert response["Data"]["ReferrersCopied"] == "1"
    assert response["Data"]["ReferrersRefused"] == "1"
    assert response["Data"]["RefusedReferrers"] == attached.digest
    assert destination.store.tags("mirror/app")["1"] == image.digest
    (warning,) = [each for each in caplog.records if each.levelname == "WARNING"]
    assert warning.__dict__["referrer"] == attached.digest
    assert "subjects are not supported" in warning.__dict__["why"]


def test_a_rejected_referrer_fails_the_copy_if_copyreferrers_is_required(
    function: Function, registries: Start, image: Image
) -> None:
    source, destination = registries(), registries(policy=RejectedReferrersPolicy())
    push(image, source.host, "team/app", "1")
    attached = sbom(image)
    push(attached, source.host, "team/app")

    response = copy(function, source, destination, CopyReferrers="required")

    assert response["Status"] == "FAILED"
    assert f"cannot copy referrer {attached.digest} of {image.digest}" in response["Reason"]
    assert "405 Method Not Allowed, UNSUPPORTED: subjects are not supported" in response["Reason"]
    assert destination.store.tags("mirror/app") == {}


def test_the_error_for_a_required_referrer_has_the_terms_of_the_resource(
    function: Function, registries: Start, image: Image
) -> None:
    source, destination = registries(), registries(policy=RejectedReferrersPolicy(status=403))
    push(image, source.host, "team/app", "1")
    push(sbom(image), source.host, "team/app")

    response = copy(function, source, destination, CopyReferrers="required")

    # one hint: not that of the push, which does not know what the properties are called
    assert (
        "UNSUPPORTED: subjects are not supported) and no credentials were given. Use "
        "CopyReferrers: true to copy the image without it. Log stream:" in response["Reason"]
    ), response["Reason"]


def test_a_503_for_a_referrer_fails_the_copy(
    function: Function, registries: Start, image: Image
) -> None:
    source, destination = registries(), registries(policy=RejectedReferrersPolicy(503))
    push(image, source.host, "team/app", "1")
    push(sbom(image), source.host, "team/app")

    response = copy(function, source, destination, RetryConfigs={"numAttempts": 2, "baseDelay": 0})

    assert response["Status"] == "FAILED"
    assert "503" in response["Reason"]
    assert destination.store.tags("mirror/app") == {}


def test_a_listed_manifest_with_another_subject_is_not_copied(
    function: Function, registries: Start, image: Image
) -> None:
    source, destination = registries(referrers_api=False), registries()
    push(image, source.host, "team/app", "1")
    other = sbom(build_image([], "linux/arm64"))
    push(fallback_index([other]), source.host, "team/app", fallback_tag(image.digest))

    response = copy(function, source, destination)

    assert response["Data"]["ReferrersRefused"] == "1"
    assert len(destination.store.manifests("mirror/app")) == 1


def test_a_listed_referrer_that_does_not_exist_does_not_stop_the_others(
    function: Function, registries: Start, image: Image
) -> None:
    source, destination = registries(referrers_api=False), registries()
    push(image, source.host, "team/app", "1")
    missing, existing = sbom(image, b"missing"), sbom(image, b"existing")
    push(fallback_index([missing, existing]), source.host, "team/app", fallback_tag(image.digest))
    source.store.delete_manifest("team/app", missing.digest)

    response = copy(function, source, destination)

    assert response["Data"]["RefusedReferrers"] == missing.digest
    assert referrers(destination, image.digest) == {existing.digest}


class RejectedFallbackTagsPolicy(SpecificationPolicy):
    """A registry that rejects fallback tags."""

    def before_manifest(
        self,
        repository: str,  # noqa: ARG002 - overrides
        reference: str,
        manifest: Manifest,  # noqa: ARG002 - overrides
        store: Store,  # noqa: ARG002 - overrides
    ) -> None:
        if reference.startswith("sha256-"):
            raise RegistryError(ErrorCode.TAG_INVALID, "tag not allowed")


def test_a_rejected_fallback_tag_is_reported_with_its_referrers(
    function: Function, registries: Start, image: Image
) -> None:
    source = registries()
    destination = registries(referrers_api=False, policy=RejectedFallbackTagsPolicy())
    push(image, source.host, "team/app", "1")
    attached = [sbom(image, b"1"), sbom(image, b"2")]
    for each in attached:
        push(each, source.host, "team/app")

    response = copy(function, source, destination)

    assert response["Status"] == "SUCCESS", response
    assert (response["Data"]["ReferrersCopied"], response["Data"]["ReferrersRefused"]) == ("0", "2")
    assert set(response["Data"]["RefusedReferrers"].split(",")) == {
        each.digest for each in attached
    }
    response = copy(function, source, destination, CopyReferrers="required", DestTags="again")
    assert response["Status"] == "FAILED"
    assert "tag not allowed" in response["Reason"]
    assert destination.store.tags("mirror/app") == {"1": image.digest}
