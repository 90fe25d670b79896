from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from local.aws import LoopbackAws
from local.images import Image
from local.registry.digests import digest_of
from tests.local.ecr_client import small_image
from tests.local.wire_client import FakeClock, WireClient, WireResponse, basic

ClientFactory = Callable[[str], WireClient]
HUB = "registry-1.docker.io"
TOKENS = "auth.docker.io"
MANIFEST = "/v2/library/nginx/manifests/1.27"
ANN = basic("ann", "hub-password")


@pytest.fixture
def image(aws: LoopbackAws) -> Image:
    content = small_image()
    aws.docker_hub.put(content, "library/nginx", "1.27")
    return content


@pytest.fixture
def token(client_for: ClientFactory) -> Callable[..., str]:
    client = client_for(TOKENS)

    def fetch(login: str | None = None, repository: str = "library/nginx") -> str:
        target = f"/token?service=registry.docker.io&scope=repository:{repository}:pull"
        headers = {"Authorization": login} if login else {}
        document = client.send("GET", target, None, chunked=False, **headers).document
        assert document["token"] == document["access_token"]
        assert document["expires_in"] == 300
        return f"Bearer {document['token']}"

    return fetch


def limits(response: WireResponse) -> tuple[str | None, ...]:
    names = ("ratelimit-limit", "ratelimit-remaining", "docker-ratelimit-source")
    return tuple(response.headers.get(name) for name in names)


def test_the_challenge_names_the_token_service(client_for: ClientFactory, image: Image) -> None:
    response = client_for(HUB).send("GET", MANIFEST)
    assert (response.status, response.error_code) == (401, "UNAUTHORIZED")
    assert response.headers["www-authenticate"] == (
        'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",'
        'scope="repository:library/nginx:pull"'
    )
    assert image.digest


def test_an_official_image_is_pulled_with_a_token_of_five_minutes(
    client_for: ClientFactory, image: Image, token: Callable[..., str], clock: FakeClock
) -> None:
    client, authorization = client_for(HUB), token()
    assert client.send("GET", MANIFEST, Authorization=authorization).body == image.manifest
    clock.now += 300
    expired = client.send("GET", MANIFEST, Authorization=authorization)
    assert (expired.status, expired.error_code) == (401, "UNAUTHORIZED")
    assert 'error="invalid_token"' in expired.headers["www-authenticate"]


def test_the_blob_host_rejects_the_authorization_header(
    client_for: ClientFactory, image: Image, token: Callable[..., str]
) -> None:
    authorization = token()
    target = f"/v2/library/nginx/blobs/{digest_of(image.config)}"
    redirect = client_for(HUB).send("GET", target, Authorization=authorization)
    location = urlsplit(redirect.headers["location"])
    assert (redirect.status, location.hostname) == (307, "production.cloudflare.docker.com")
    storage, path = client_for(str(location.hostname)), f"{location.path}?{location.query}"
    assert storage.send("GET", path).body == image.config
    assert storage.send("GET", path, Authorization=authorization).status == 400


def test_each_docker_hub_host_serves_only_its_own_paths(client_for: ClientFactory) -> None:
    assert client_for(HUB).send("GET", "/token?service=registry.docker.io").status == 404
    assert client_for(TOKENS).send("GET", "/v2/").status == 404


def test_a_get_of_a_manifest_counts_and_a_head_does_not(
    client_for: ClientFactory, token: Callable[..., str], image: Image
) -> None:
    client, authorization = client_for(HUB), token()
    digest = f"/v2/library/nginx/manifests/{image.digest}"
    expected = ["100", "99", "99", "98"]
    for left, (method, target) in zip(
        expected,
        (("HEAD", MANIFEST), ("GET", MANIFEST), ("HEAD", digest), ("GET", digest)),
        strict=True,
    ):
        response = client.send(method, target, Authorization=authorization)
        assert limits(response) == ("100;w=21600", f"{left};w=21600", "192.0.2.1")
    blob = f"/v2/library/nginx/blobs/{digest_of(image.config)}"
    assert limits(client.send("GET", blob, Authorization=authorization)) == (None, None, None)


def test_pulls_over_the_rate_limit_are_rejected_for_six_hours(
    aws: LoopbackAws,
    client_for: ClientFactory,
    token: Callable[..., str],
    image: Image,
    clock: FakeClock,
) -> None:
    aws.docker_hub.pull_limit = 2
    client, authorization = client_for(HUB), token()
    statuses = [client.send("GET", MANIFEST, Authorization=authorization).status for _ in range(3)]
    assert statuses == [200, 200, 429]
    rejected = client.send("GET", MANIFEST, Authorization=authorization)
    assert rejected.error_code == "TOOMANYREQUESTS"
    assert rejected.error_message.startswith("You have reached your pull rate limit.")
    assert limits(rejected) == ("2;w=21600", "0;w=21600", "192.0.2.1")
    head = client.send("HEAD", MANIFEST, Authorization=authorization)
    assert (head.status, head.headers["docker-content-digest"]) == (200, image.digest)
    clock.now += 21600
    assert client.send("GET", MANIFEST, Authorization=token()).status == 200


@pytest.mark.usefixtures("image")
def test_each_user_has_a_separate_pull_limit(
    aws: LoopbackAws, client_for: ClientFactory, token: Callable[..., str]
) -> None:
    aws.docker_hub.pull_limit = 0
    client = client_for(HUB)
    assert client.send("GET", MANIFEST, Authorization=token()).status == 429
    ann = token(ANN)
    responses = [client.send("GET", MANIFEST, Authorization=ann) for _ in range(4)]
    assert [response.status for response in responses] == [200, 200, 200, 429]
    assert limits(responses[0]) == ("3;w=21600", "2;w=21600", "ann")
    paid = client.send("GET", MANIFEST, Authorization=token(basic("paid", "paid-password")))
    assert (paid.status, limits(paid)) == (200, (None, None, None))


def test_a_wrong_password_gets_no_token(client_for: ClientFactory) -> None:
    target = "/token?service=registry.docker.io"
    assert client_for(TOKENS).send("GET", target, Authorization=basic("ann", "no")).status == 401


@pytest.mark.usefixtures("image")
def test_missing_and_private_repositories_return_the_same_error(
    aws: LoopbackAws, client_for: ClientFactory, token: Callable[..., str]
) -> None:
    aws.docker_hub.put(small_image(1), "acme/private", "1")
    aws.docker_hub.private_repositories.add("acme/private")
    client = client_for(HUB)
    for repository in ("acme/private", "acme/missing"):
        target = f"/v2/{repository}/manifests/1"
        response = client.send("GET", target, Authorization=token(None, repository))
        assert (response.status, response.error_code) == (401, "UNAUTHORIZED")
        assert 'error="insufficient_scope"' in response.headers["www-authenticate"]
    response = client.send(
        "GET", "/v2/acme/private/manifests/1", Authorization=token(ANN, "acme/private")
    )
    assert response.body == small_image(1).manifest
    unknown_tag = client.send("GET", MANIFEST + "0", Authorization=token())
    assert (unknown_tag.status, unknown_tag.error_code) == (404, "MANIFEST_UNKNOWN")


@pytest.mark.usefixtures("image")
def test_pushes_to_docker_hub_are_rejected(
    client_for: ClientFactory, token: Callable[..., str]
) -> None:
    response = client_for(HUB).send(
        "POST", "/v2/library/nginx/blobs/uploads/", b"", Authorization=token(ANN)
    )
    assert response.status == 401
