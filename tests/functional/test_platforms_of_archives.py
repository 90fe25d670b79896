"""Platforms of archives and their tags, and properties that are invalid for archives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from local.archives import SavedImage, build_docker_save, build_oci_layout
from local.images import build_image, build_index, build_layer
from local.objects import ObjectStorage
from local.registry import RegistryServer
from tests.functional.conftest import Function
from tests.functional.cosign_fixtures import pem

KEY = ec.generate_private_key(ec.SECP256R1())
Start = Callable[..., RegistryServer]


def test_a_platform_subset_of_an_archive_is_an_index_with_the_source_annotation(
    function: Function, storage: ObjectStorage, registries: Start, tmp_path: Path
) -> None:
    images = [
        build_image([build_layer(3000, seed=number)], platform)
        for number, platform in enumerate(("linux/amd64", "linux/arm64", "linux/s390x"))
    ]
    index = build_index(images)
    storage.put("app.tar", build_oci_layout(tmp_path / "a.tar", [(index, "")]))
    destination = registries()

    response = function.create(
        "s3://archives/app.tar",
        f"{destination.host}/app:1",
        Platforms="linux/amd64,linux/s390x",
        ArchImageTags={"s390x": "1-s390x"},
    )

    assert response["Status"] == "SUCCESS", response
    document = destination.store.manifest("app", "1").document
    assert [each["digest"] for each in document["manifests"]] == [
        images[0].digest,
        images[2].digest,
    ]
    note = document["annotations"]["ecr-image-replicator.source"]
    assert note == f"s3://archives/app.tar@{index.digest}"
    assert destination.store.tags("app")["1-s390x"] == images[2].digest


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ({"CopyReferrers": "true"}, "s3://archives/app.tar is an archive, which has no referrers"),
        ({"VerifySignatureKey": pem(KEY)}, "is an archive, which has no referrers and signatures"),
        ({"ArchImageTags": {"amd64": "a"}}, "is a single image, not an index"),
        ({"Platforms": "linux/amd64,linux/arm64"}, "platform linux/arm64 not found"),
    ],
)
def test_properties_that_are_invalid_for_an_archive_are_an_error_before_anything_is_pushed(
    function: Function,
    storage: ObjectStorage,
    registries: Start,
    tmp_path: Path,
    properties: dict[str, Any],
    message: str,
) -> None:
    saved = SavedImage([build_layer(3000, compression="none")], ["app:1"])
    storage.put("app.tar", build_docker_save(tmp_path / "a.tar", [saved]))
    destination = registries()

    response = function.create("s3://archives/app.tar", f"{destination.host}/app:1", **properties)

    assert response["Status"] == "FAILED"
    assert message in response["Reason"]
    assert {entry.method for entry in destination.requests} <= {"GET", "HEAD"}
