"""Registries without the referrers API. docs/compatibility.md has the reports."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from local.images import Content, Image, build_index, place, push
from local.registry import (
    BasicAuthentication,
    BearerAuthentication,
    Quirks,
    RegistryServer,
)
from tests.functional.conftest import Function
from tests.functional.cosign_fixtures import (
    bundle,
    copy,
    fallback_index,
    fallback_tag,
    index_of,
    pem,
    referrers,
    sbom,
)
from tests.functional.quirks.replicating import CREDENTIALS, LOGIN, Start, check_copy

KEY = ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize("is_index", [False, True])
def test_a_fallback_tag_that_is_the_image_itself_lists_no_referrers(
    function: Function, registries: Start, image: Image, *, is_index: bool
) -> None:
    content: Content = build_index([image]) if is_index else image
    source = registries(referrers_api=False, quirks=Quirks(gitlab_fallback_tag=True))
    place(content, source.store, "team/app", "1")
    destination = registries()

    response = copy(function, source, destination, CopyImageIndex="true" if is_index else None)

    check_copy(response, destination, content)
    assert response["Data"]["ReferrersCopied"] == "0"


def test_a_fallback_tag_that_is_the_image_itself_is_replaced_by_a_list_of_referrers(
    function: Function, registries: Start, source: RegistryServer, image: Image
) -> None:
    attached = sbom(image)
    push(attached, source.host, "team/app")
    destination = registries(referrers_api=False, quirks=Quirks(gitlab_fallback_tag=True))

    response = copy(function, source, destination, CopyReferrers="required")

    check_copy(response, destination, image)
    assert referrers(destination, image.digest) == {attached.digest}
    listed = destination.store.manifest("mirror/app", fallback_tag(image.digest)).document
    assert [each["digest"] for each in listed["manifests"]] == [attached.digest]


@pytest.mark.parametrize("authentication", ["none", "basic", "bearer"])
def test_the_fallback_tag_is_used_after_a_401_of_the_referrers_api(
    function: Function, registries: Start, image: Image, authentication: str
) -> None:
    strategies = {
        "none": None,
        "basic": BasicAuthentication(LOGIN),
        "bearer": BearerAuthentication(LOGIN, anonymous_pull=False),
    }
    source = registries(
        quirks=Quirks(referrers_status=401), authentication=strategies[authentication]
    )
    attached = sbom(image)
    place(image, source.store, "team/app", "1")
    place(attached, source.store, "team/app")
    place(fallback_index([attached]), source.store, "team/app", fallback_tag(image.digest))
    destination = registries()

    response = copy(function, source, destination, SrcCreds=CREDENTIALS)

    check_copy(response, destination, image)
    assert referrers(destination, image.digest) == {attached.digest}


@pytest.mark.parametrize(
    "artifact_type",
    [
        None,
        "application/vnd.oci.empty.v1+json",
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.dev.sigstore.bundle.v0.3+json",
    ],
)
def test_a_bundle_is_found_with_any_artifact_type_in_the_fallback_index(
    function: Function, registries: Start, image: Image, artifact_type: str | None
) -> None:
    source, destination = registries(referrers_api=False), registries(referrers_api=False)
    place(image, source.store, "team/app", "1")
    signature = bundle(KEY, image.digest, image)
    place(signature, source.store, "team/app")
    entry = {"artifactType": artifact_type} if artifact_type else {}
    listed = index_of([signature], [entry])
    place(listed, source.store, "team/app", fallback_tag(image.digest))

    response = copy(function, source, destination, VerifySignatureKey=pem(KEY))

    check_copy(response, destination, image)
    index = destination.store.manifest("mirror/app", fallback_tag(image.digest)).document
    assert [each["digest"] for each in index["manifests"]] == [signature.digest]
    assert index["manifests"][0]["artifactType"] == signature.artifact_type
