from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator
from local.aws import LoopbackAws
from local.images import Image
from local.registry.digests import digest_of
from tests.local.ecr_client import small_image
from tests.local.wire_client import FakeClock, WireClient, basic

ClientFactory = Callable[[str], WireClient]
PUBLIC = "public.ecr.aws"
MANIFEST = "/v2/docker/library/nginx/manifests/1.27"
TOKEN = "/token/?service=public.ecr.aws&scope=repository:docker/library/nginx:pull"


@pytest.fixture
def image(aws: LoopbackAws) -> Image:
    content = small_image()
    aws.public_ecr.put(content, "docker/library/nginx", "1.27")
    return content


def login(aws: LoopbackAws) -> str:
    response = aws.client("ecr-public", region="us-east-1").get_authorization_token()
    return "Basic " + str(response["authorizationData"]["authorizationToken"])


def token(client: WireClient, authorization: str | None = None) -> str:
    headers = {"Authorization": authorization} if authorization else {}
    response = client.send("GET", TOKEN, None, chunked=False, **headers)
    return f"Bearer {response.document['token']}"


@pytest.mark.parametrize("host", ["public.ecr.aws", "ecr-public.aws.com"])
def test_the_challenge_points_to_the_token_service_of_the_host(
    client_for: ClientFactory, host: str
) -> None:
    response = client_for(host).send("GET", "/v2/")
    assert response.status == 401
    assert response.headers["www-authenticate"] == (
        f'Bearer realm="https://{host}/token/",service="{host}",scope="aws"'
    )


def test_an_anonymous_token_permits_pulls(client_for: ClientFactory, image: Image) -> None:
    client = client_for(PUBLIC)
    authorization = token(client)
    assert client.send("GET", MANIFEST, Authorization=authorization).body == image.manifest
    target = f"/v2/docker/library/nginx/blobs/{digest_of(image.config)}"
    redirect = client.send("GET", target, Authorization=authorization)
    location = urlsplit(redirect.headers["location"])
    assert redirect.status == 307
    served = client_for(str(location.hostname)).send("GET", f"{location.path}?{location.query}")
    assert served.body == image.config


def test_an_old_or_wrong_token_is_a_bad_request_without_a_challenge(
    aws: LoopbackAws, client_for: ClientFactory, image: Image
) -> None:
    client = client_for(PUBLIC)
    old = token(client)
    aws.expire_tokens()
    for wrong in (old, "Bearer guess", basic("AWS", "guess")):
        response = client.send("GET", MANIFEST, Authorization=wrong)
        assert (response.status, response.error_code) == (400, "DENIED")
        assert "www-authenticate" not in response.headers
    assert image.digest


def test_an_api_password_authenticates_until_it_expires(
    aws: LoopbackAws, client_for: ClientFactory, clock: FakeClock
) -> None:
    client, authorization = client_for(PUBLIC), login(aws)
    assert token(client, authorization)
    clock.now += 12 * 3600
    stale = client.send("GET", TOKEN, Authorization=authorization)
    assert (stale.status, stale.error_code) == (403, "DENIED")
    wrong = client.send("GET", TOKEN, Authorization=basic("AWS", "guess"))
    assert (wrong.status, wrong.error_code) == (400, "DENIED")


def test_the_api_response_matches_its_model(aws: LoopbackAws, clock: FakeClock) -> None:
    client = aws.client("ecr-public", region="us-east-1")
    response = client.get_authorization_token()
    assert response["authorizationData"]["expiresAt"] == datetime.fromtimestamp(
        clock.now + 12 * 3600, UTC
    )
    shape = client.meta.service_model.operation_model("GetAuthorizationToken").output_shape
    del response["ResponseMetadata"]
    assert not ParamValidator().validate(response, shape).has_errors()
    with pytest.raises(ClientError, match="UnknownOperationException"):
        client.describe_registries()


@pytest.mark.parametrize(
    "action", ["ecr-public:GetAuthorizationToken", "sts:GetServiceBearerToken"]
)
def test_authentication_requires_two_permissions(aws: LoopbackAws, action: str) -> None:
    aws.public_ecr.denied_actions.add(action)
    with pytest.raises(ClientError, match=f"not authorized to perform: {action}"):
        login(aws)


def test_only_the_owner_of_an_alias_can_push_to_it(
    aws: LoopbackAws, client_for: ClientFactory
) -> None:
    aws.public_ecr.owners["acme"] = "123456789012"
    aws.public_ecr.store.create_repository("acme/app")
    client = client_for(PUBLIC)
    owner = token(client, login(aws))
    start = "/v2/{}/blobs/uploads/"
    assert client.send("POST", start.format("acme/app"), b"", Authorization=owner).status == 202
    missing = client.send("POST", start.format("acme/no"), b"", Authorization=owner)
    assert (missing.status, missing.error_code) == (404, "NAME_UNKNOWN")
    for repository, who in (("docker/library/x", owner), ("acme/app", token(client))):
        rejected = client.send("POST", start.format(repository), b"", Authorization=who)
        assert (rejected.status, rejected.error_code) == (403, "DENIED")


def test_cross_repository_mounts_are_not_supported(
    aws: LoopbackAws, client_for: ClientFactory, image: Image
) -> None:
    aws.public_ecr.owners["acme"] = "123456789012"
    aws.public_ecr.store.create_repository("acme/app")
    client = client_for(PUBLIC)
    target = (
        f"/v2/acme/app/blobs/uploads/?mount={digest_of(image.config)}&from=docker/library/nginx"
    )
    assert client.send("POST", target, b"", Authorization=token(client, login(aws))).status == 202


def test_pulls_per_second_can_be_limited(
    aws: LoopbackAws, client_for: ClientFactory, image: Image, clock: FakeClock
) -> None:
    aws.public_ecr.anonymous_pulls_per_second = 1
    aws.public_ecr.pulls_per_second = 10
    client = client_for(PUBLIC)
    anonymous, signed_in = token(client), token(client, login(aws))

    def pull(authorization: str, method: str = "GET") -> int:
        return client.send(method, MANIFEST, Authorization=authorization).status

    assert [pull(anonymous), pull(anonymous), pull(anonymous, "HEAD")] == [200, 429, 200]
    assert [pull(signed_in) for _ in range(11)] == [200] * 10 + [429]
    clock.now += 1
    assert pull(anonymous) == 200
    assert image.digest
