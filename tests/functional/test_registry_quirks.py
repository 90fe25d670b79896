"""Authentication, redirects and upload locations of registries."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from local.images import Image, build_image, build_layer, push
from local.registry import (
    BasicAuthentication,
    BearerAuthentication,
    RegistryServer,
    TokenService,
)
from tests.functional.conftest import Function

Start = Callable[..., RegistryServer]

LOGIN = {"robot": "correct-horse"}
CREDENTIALS = "robot:correct-horse"


def put(registry: RegistryServer, image: Image, repository: str = "team/app") -> None:
    """Put an image into a registry's storage without a request."""
    for content in image.blobs.values():
        registry.store.put_blob(repository, content)
    registry.store.put_manifest(repository, "1", image.manifest, image.media_type)


@pytest.fixture
def image() -> Image:
    return build_image([build_layer(300_000, seed=seed) for seed in range(3)])


@pytest.mark.parametrize(
    "tokens",
    [
        TokenService(),
        TokenService(token_fields=("access_token",), states_expiry=False),
        TokenService(token_fields=("token",), first_scope_only=True),
    ],
    ids=["both-fields", "access-token-without-expiry", "token-of-the-first-scope"],
)
def test_a_token_is_fetched_for_each_endpoint(
    function: Function, registries: Start, image: Image, tokens: TokenService
) -> None:
    source = registries(authentication=BearerAuthentication(anonymous_pull=True))
    destination = registries(
        authentication=BearerAuthentication(LOGIN, anonymous_pull=False, token_service=tokens)
    )
    put(source, image)

    response = function.create(
        f"{source.host}/team/app:1", f"{destination.host}/mirror/app:1", DestCreds=CREDENTIALS
    )

    assert response["Status"] == "SUCCESS", response
    requests = [entry for entry in destination.requests if entry.path == "/token"]
    assert len(requests) == 1


def test_basic_credentials_are_sent_after_a_challenge(
    function: Function, registries: Start, image: Image
) -> None:
    source = registries(authentication=BasicAuthentication(LOGIN))
    put(source, image)
    destination = registries()

    response = function.create(
        f"{source.host}/team/app:1", f"{destination.host}/mirror/app:1", SrcCreds=CREDENTIALS
    )

    assert response["Status"] == "SUCCESS", response
    assert sum(entry.status == 401 for entry in source.requests) == 1


def test_a_warm_function_replaces_a_rejected_token(
    function: Function, registries: Start, image: Image
) -> None:
    authentication = BearerAuthentication(LOGIN, anonymous_pull=False)
    source = registries(authentication=authentication)
    put(source, image)
    destination = registries()
    images = f"{source.host}/team/app:1", f"{destination.host}/mirror/app:1"
    assert function.create(*images, SrcCreds=CREDENTIALS)["Status"] == "SUCCESS"
    authentication.revoke_all()
    source.clear_requests()

    response = function.create(*images, SrcCreds=CREDENTIALS)

    assert response["Status"] == "SUCCESS", response
    assert [(entry.method, entry.path, entry.status) for entry in source.requests] == [
        ("HEAD", "/v2/team/app/manifests/1", 401),
        ("GET", "/token", 200),
        ("HEAD", "/v2/team/app/manifests/1", 200),
    ]


def test_a_warm_function_reuses_its_authorization(
    function: Function, registries: Start, image: Image
) -> None:
    source = registries(authentication=BearerAuthentication(LOGIN, anonymous_pull=False))
    put(source, image)
    destination = registries(authentication=BasicAuthentication(LOGIN))
    images = f"{source.host}/team/app:1", f"{destination.host}/mirror/app:1"
    credentials = {"SrcCreds": CREDENTIALS, "DestCreds": CREDENTIALS}
    function.create(*images, **credentials)
    source.clear_requests()
    destination.clear_requests()

    function.create(*images, **credentials)

    assert (len(source.requests), len(destination.requests)) == (1, 1)


@pytest.mark.parametrize("side", ["source", "destination"])
@pytest.mark.parametrize("kind", ["bearer", "basic"])
@pytest.mark.parametrize("given", ["robot:wrong-battery", None])
def test_an_authentication_error_names_the_host_and_the_credentials(
    function: Function, registries: Start, image: Image, side: str, kind: str, given: str | None
) -> None:
    authentication = (
        BearerAuthentication(LOGIN, anonymous_pull=False)
        if kind == "bearer"
        else BasicAuthentication(LOGIN)
    )
    options = {side: {"authentication": authentication}}
    source = registries(**options.get("source", {}))
    destination = registries(**options.get("destination", {}))
    put(source, image)
    name = "SrcCreds" if side == "source" else "DestCreds"

    response = function.create(
        f"{source.host}/team/app:1",
        f"{destination.host}/mirror/app:1",
        **({name: given} if given else {}),
    )

    reason = response["Reason"]
    rejecting = source if side == "source" else destination
    assert response["Status"] == "FAILED"
    assert f" {rejecting.host}/" in reason
    assert f"(401 Unauthorized from {rejecting.host})" in reason
    assert name in reason
    assert ("access denied" if given is None else "authentication failed") in reason
    assert ("no credentials were given" in reason) == (given is None)
    assert "wrong-battery" not in reason
    assert "robot" not in reason


@pytest.mark.parametrize("redirects", ["absolute", "network-path"])
def test_authorization_is_not_sent_to_the_storage_of_a_registry(
    function: Function, registries: Start, image: Image, redirects: str
) -> None:
    source = registries(authentication=BasicAuthentication(LOGIN), blob_redirects=redirects)
    put(source, image)
    destination = registries(absolute_locations=True)

    response = function.create(
        f"{source.host}/team/app:1", f"{destination.host}/mirror/app:1", SrcCreds=CREDENTIALS
    )

    # the storage rejects an Authorization header with 400, as S3 does
    assert response["Status"] == "SUCCESS", response
    assert [entry.status for entry in source.storage_requests] == [200] * 4


def test_a_missing_blob_stops_the_copy_and_cancels_uploads(
    function: Function, registries: Start, image: Image
) -> None:
    source, destination = registries(), registries()
    put(source, image)
    lost = build_image([build_layer(100, seed=50)])
    put(destination, lost, "mirror/app")
    before = destination.store.tags("mirror/app")
    digest = next(iter(image.blobs))
    source.store.delete_blob("team/app", digest)

    response = function.create(f"{source.host}/team/app:1", f"{destination.host}/mirror/app:1")

    assert response["Status"] == "FAILED"
    assert str(digest) in response["Reason"]
    assert "BLOB_UNKNOWN" in response["Reason"]
    assert destination.store.tags("mirror/app") == before
    assert destination.store.open_uploads == ()


def test_each_tag_is_pushed_with_one_request(
    function: Function, registries: Start, image: Image
) -> None:
    source, destination = registries(), registries()
    push(image, source.host, "team/app", "1")

    response = function.create(
        f"{source.host}/team/app:1", f"{destination.host}/mirror/app:1", DestTags="a, b,1"
    )

    assert response["Status"] == "SUCCESS", response
    puts = [entry.path for entry in destination.requests if "/manifests/" in entry.path]
    puts = [path.rpartition("/")[2] for path in puts][3:]
    assert puts[0] == "1"
    assert sorted(puts) == ["1", "a", "b"]
    assert destination.store.tags("mirror/app")["1"] == image.digest
    assert set(destination.store.tags("mirror/app")) == {"1", "a", "b"}
