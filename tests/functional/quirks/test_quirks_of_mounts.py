"""Copies between two repositories of one registry that mounts no blobs between them."""

from __future__ import annotations

import pytest
from local.images import Image, place
from local.registry import (
    BearerAuthentication,
    Quirks,
    RegistryServer,
    SpecificationPolicy,
    Store,
)
from local.registry.digests import Digest
from tests.functional.conftest import Function
from tests.functional.quirks.replicating import Start, check_copy, replicate


class NoMounts(SpecificationPolicy):
    """A registry that opens an upload session for every mount."""

    def may_mount(self, source: str, target: str, digest: Digest, store: Store) -> bool:  # noqa: ARG002 - the policy's signature
        return False


def _puts(registry: RegistryServer) -> int:
    return sum("/blobs/" in each.path and each.method == "PUT" for each in registry.requests)


def test_credentials_without_access_to_the_source_repository_push_instead_of_mounting(
    function: Function, registries: Start, image: Image
) -> None:
    users = {"reader": "reader-password", "writer": "writer-password"}
    permissions = {
        "reader": {"team/app": ["pull"]},
        "writer": {"mirror/app": ["pull", "push"]},
    }
    registry = registries(
        authentication=BearerAuthentication(users, anonymous_pull=False, permissions=permissions)
    )
    place(image, registry.store, "team/app", "1")

    response = replicate(
        function,
        registry,
        registry,
        SrcCreds="reader:reader-password",
        DestCreds="writer:writer-password",
    )

    check_copy(response, registry, image)
    assert response["Data"]["BlobsCopied"] == "3"


@pytest.mark.parametrize("kind", ["ignored", "rejected"])
def test_existing_blobs_are_not_pushed_again_where_blobs_are_not_mounted(
    function: Function, registries: Start, image: Image, kind: str
) -> None:
    registry = registries(
        policy=NoMounts() if kind == "ignored" else None,
        quirks=Quirks(mount_status=403 if kind == "rejected" else 0),
    )
    place(image, registry.store, "team/app", "1")
    check_copy(replicate(function, registry, registry), registry, image)
    assert _puts(registry) == 3

    registry.store.delete_tag("mirror/app", "1")
    registry.clear_requests()
    response = replicate(function, registry, registry, Trigger="2")

    check_copy(response, registry, image)
    assert response["Data"]["BlobsSkipped"] == "3"
    assert _puts(registry) == 0
