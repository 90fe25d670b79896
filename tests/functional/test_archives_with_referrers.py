"""Archives that hold an image with its signatures, SBOMs or lists of referrers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from local.archives import build_cosign_save, build_export, build_oci_layout
from local.images import build_artifact, build_image, build_index, build_layer
from local.objects import ObjectStorage
from local.registry import RegistryServer
from tests.functional.conftest import Function

IMAGE = build_image([build_layer(3000)])
SIGNATURE = build_image([build_layer(100, 9)])
Copy = Callable[..., str]


@pytest.fixture
def copy(
    function: Function, storage: ObjectStorage, registries: Callable[..., RegistryServer]
) -> Copy:
    """Copy an archive, and return the digest of the copied image."""
    destination = registries()

    def run(path: Path, selector: str = "") -> str:
        storage.put("app.tar", path)
        source = f"s3://archives/app.tar{selector}"
        response = function.create(source, f"{destination.host}/app:1", Platforms="all")
        assert response["Status"] == "SUCCESS", response
        return str(response["Data"]["ImageDigest"])

    return run


def test_a_cosign_save_archive_is_copied_without_its_signatures(copy: Copy, tmp_path: Path) -> None:
    assert copy(build_cosign_save(tmp_path / "a.tar", IMAGE, SIGNATURE)) == IMAGE.digest


def test_a_hauler_store_is_copied_without_its_referrers(copy: Copy, tmp_path: Path) -> None:
    kinds = ((SIGNATURE, f"referrers/{SIGNATURE.digest[7:]}"), (IMAGE, "image"))
    entries = [each.descriptor({"kind": f"dev.hauler/{kind}"}) for each, kind in kinds]
    index = {"schemaVersion": 2, "manifests": entries}

    contents = [(each, "") for each, _ in kinds]
    assert (
        copy(build_export(tmp_path / "a.tar", contents, index=index, manifest=[])) == IMAGE.digest
    )


@pytest.mark.parametrize("suffix", ["", ".sig"])
def test_a_layout_of_regctl_is_copied_without_its_referrers(
    copy: Copy, tmp_path: Path, suffix: str
) -> None:
    bom = build_artifact("application/spdx+json", subject=IMAGE)
    referrers = SIGNATURE if suffix else build_index([bom])
    tag = IMAGE.digest.replace(":", "-") + suffix

    path = build_oci_layout(tmp_path / "a.tar", [(referrers, tag), (IMAGE, "1.0")])

    assert copy(path) == IMAGE.digest
    assert copy(path, f":{tag}") == referrers.digest
