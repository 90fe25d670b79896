from __future__ import annotations

import json
from collections.abc import Callable
from urllib.parse import urlencode

import pytest
from local.images import build_image, push
from local.registry import (
    BasicAuthentication,
    BearerAuthentication,
    RegistryServer,
    TokenService,
)
from tests.local.wire_client import WireClient, basic

Connect = Callable[[RegistryServer], WireClient]
USERS = {"ann": "s3cret:with colon"}
ANN = basic("ann", "s3cret:with colon")


class FakeClock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def token(client: WireClient, *scopes: str, authorization: str | None = None) -> str:
    query = urlencode([("service", "s"), *(("scope", scope) for scope in scopes)])
    target = f"/token?{query}"
    if authorization:
        response = client.send("GET", target, Authorization=authorization)
    else:
        response = client.send("GET", target)
    assert response.status == 200
    return f"Bearer {response.document['token']}"


def test_basic_authentication_requires_a_password(connect: Connect) -> None:
    with RegistryServer(authentication=BasicAuthentication(USERS, realm="here")) as registry:
        client = connect(registry)
        rejected = client.send("GET", "/v2/")
        assert (rejected.status, rejected.error_code) == (401, "UNAUTHORIZED")
        assert rejected.headers["www-authenticate"] == 'Basic realm="here"'
        assert client.send("GET", "/v2/", Authorization=basic("ann", "wrong")).status == 401
        assert client.send("GET", "/v2/", Authorization="Basic %%%").status == 401
        assert client.send("GET", "/v2/", Authorization=ANN).status == 200
        push(build_image([]), registry.host, "app", "1", authorization=ANN)
        assert {entry.authorization_scheme for entry in registry.requests} == {None, "Basic"}
        assert all("authorization" not in entry.headers for entry in registry.requests)


def test_the_bearer_challenge_has_realm_service_and_scope(connect: Connect) -> None:
    with RegistryServer(authentication=BearerAuthentication(USERS)) as registry:
        client = connect(registry)
        response = client.send("POST", "/v2/team/app/blobs/uploads/?mount=x&from=base/image")
        assert response.headers["www-authenticate"] == (
            f'Bearer realm="{registry.url}/token",service="loopback-registry",'
            'scope="repository:team/app:pull,push repository:base/image:pull"'
        )


def test_pulls_are_anonymous_and_pushes_need_a_user(connect: Connect) -> None:
    with RegistryServer(authentication=BearerAuthentication(USERS)) as registry:
        registry.store.put_manifest("app", "1", build_image([]).manifest, "x")
        client = connect(registry)
        anonymous = token(client, "repository:app:pull,push")
        get = client.send("GET", "/v2/app/manifests/1", Authorization=anonymous)
        assert get.status == 200
        post = client.send("POST", "/v2/app/blobs/uploads/", Authorization=anonymous)
        assert post.status == 401
        assert 'error="insufficient_scope"' in post.headers["www-authenticate"]
        known = token(client, "repository:app:pull,push", authorization=ANN)
        assert client.send("POST", "/v2/app/blobs/uploads/", Authorization=known).status == 202


def test_anonymous_pulls_can_be_forbidden(connect: Connect) -> None:
    with RegistryServer(
        authentication=BearerAuthentication(USERS, anonymous_pull=False)
    ) as registry:
        client = connect(registry)
        assert client.send("GET", "/token?scope=repository:app:pull").status == 401
        wrong = client.send("GET", "/token", Authorization=basic("ann", "no"))
        assert wrong.status == 401
        assert (
            client.send("GET", "/v2/", Authorization=token(client, authorization=ANN)).status == 200
        )


def test_a_token_is_valid_for_its_repository_only(connect: Connect) -> None:
    with RegistryServer(authentication=BearerAuthentication(USERS)) as registry:
        client = connect(registry)
        narrow = token(client, "repository:app:pull", authorization=ANN)
        assert client.send("GET", "/v2/app/tags/list", Authorization=narrow).status == 404
        assert client.send("GET", "/v2/other/tags/list", Authorization=narrow).status == 401
        both = token(client, "repository:app:pull", "repository:other:pull")
        assert client.send("GET", "/v2/other/tags/list", Authorization=both).status == 404


def test_a_token_expires(connect: Connect) -> None:
    clock = FakeClock()
    service = TokenService(lifetime_seconds=60)
    authentication = BearerAuthentication(token_service=service, clock=clock)
    with RegistryServer(authentication=authentication) as registry:
        client = connect(registry)
        held = token(client)
        clock.now += 59
        assert client.send("GET", "/v2/", Authorization=held).status == 200
        clock.now += 1
        expired = client.send("GET", "/v2/", Authorization=held)
        assert expired.status == 401
        assert 'error="invalid_token"' in expired.headers["www-authenticate"]


@pytest.mark.parametrize("fields", [("token",), ("access_token",), ("token", "access_token")])
def test_the_token_response_has_the_configured_fields(
    connect: Connect, fields: tuple[str, ...]
) -> None:
    service = TokenService(token_fields=fields, states_expiry=False)
    with RegistryServer(authentication=BearerAuthentication(token_service=service)) as registry:
        assert set(connect(registry).send("GET", "/token").document) == set(fields)


def test_permissions_limit_a_user(connect: Connect) -> None:
    authentication = BearerAuthentication(
        USERS, anonymous_pull=False, permissions={"ann": {"mine": ["pull", "push"]}}
    )
    with RegistryServer(authentication=authentication) as registry:
        client = connect(registry)
        scopes = ("repository:mine:pull,push", "repository:yours:pull")
        held = token(client, *scopes, authorization=ANN)
        assert client.send("GET", "/v2/mine/tags/list", Authorization=held).status == 404
        assert client.send("GET", "/v2/yours/tags/list", Authorization=held).status == 401


def test_a_token_service_can_ignore_all_scopes_but_the_first(connect: Connect) -> None:
    service = TokenService(first_scope_only=True)
    with RegistryServer(authentication=BearerAuthentication(token_service=service)) as registry:
        client = connect(registry)
        held = token(client, "repository:a:pull", "repository:b:pull")
        assert client.send("GET", "/v2/a/tags/list", Authorization=held).status == 404
        assert client.send("GET", "/v2/b/tags/list", Authorization=held).status == 401


def test_an_identity_token_is_exchanged_by_post(connect: Connect) -> None:
    service = TokenService(identity_tokens={"long-lived": "ann"})
    authentication = BearerAuthentication(USERS, token_service=service)
    with RegistryServer(authentication=authentication) as registry:
        client = connect(registry)
        form = {"grant_type": "refresh_token", "scope": "repository:app:push,pull"}
        good = urlencode({**form, "refresh_token": "long-lived"}).encode()
        bad = urlencode({**form, "refresh_token": "guessed"}).encode()
        assert client.send("POST", "/token", bad).status == 401
        response = client.send("POST", "/token", good)
        bearer = f"Bearer {json.loads(response.body)['access_token']}"
        assert client.send("POST", "/v2/app/blobs/uploads/", Authorization=bearer).status == 202
