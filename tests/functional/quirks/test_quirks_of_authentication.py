"""Challenges and expired tokens of registries. docs/compatibility.md has the reports."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from local.images import Image, build_image, build_layer, place
from local.registry import (
    Access,
    BasicAuthentication,
    BearerAuthentication,
    Operation,
    Quirks,
    RegistryServer,
    SpecificationPolicy,
    TokenService,
)
from local.web import LoopbackServer, Request, Response
from tests.functional.conftest import Function
from tests.functional.quirks.replicating import CREDENTIALS, LOGIN, Start, check_copy, replicate


@pytest.mark.parametrize("status", [403, 404])
@pytest.mark.parametrize("side", ["source", "destination"])
def test_credentials_are_sent_to_a_registry_that_sends_its_challenge_at_ping_only(
    function: Function, registries: Start, image: Image, side: str, status: int
) -> None:
    private = registries(
        authentication=BasicAuthentication(LOGIN), quirks=Quirks(anonymous_status=status)
    )
    public = registries()
    source, destination = (private, public) if side == "source" else (public, private)
    place(image, source.store, "team/app", "1")

    name = "SrcCreds" if side == "source" else "DestCreds"
    response = replicate(function, source, destination, **{name: CREDENTIALS})

    check_copy(response, destination, image)


@pytest.mark.parametrize("kind", ["basic", "bearer"])
def test_the_challenge_is_read_from_ping_after_a_401_without_www_authenticate(
    function: Function, registries: Start, image: Image, kind: str
) -> None:
    authentication = (
        BasicAuthentication(LOGIN)
        if kind == "basic"
        else BearerAuthentication(LOGIN, anonymous_pull=False)
    )
    source = registries(authentication=authentication, quirks=Quirks(challenges_at_ping_only=True))
    place(image, source.store, "team/app", "1")
    destination = registries()

    response = replicate(function, source, destination, SrcCreds=CREDENTIALS)

    check_copy(response, destination, image)


@pytest.mark.parametrize("status", [403, 404])
@pytest.mark.parametrize("kind", ["basic", "bearer"])
@pytest.mark.parametrize("side", ["source", "destination"])
def test_a_challenge_with_a_status_other_than_401_is_used(
    function: Function, registries: Start, image: Image, side: str, kind: str, status: int
) -> None:
    authentication = (
        BasicAuthentication(LOGIN)
        if kind == "basic"
        else BearerAuthentication(LOGIN, anonymous_pull=False)
    )
    private = registries(authentication=authentication, quirks=Quirks(challenge_status=status))
    public = registries()
    source, destination = (private, public) if side == "source" else (public, private)
    place(image, source.store, "team/app", "1")

    name = "SrcCreds" if side == "source" else "DestCreds"
    response = replicate(function, source, destination, **{name: CREDENTIALS})

    check_copy(response, destination, image)


def test_credentials_are_not_sent_where_no_response_has_a_challenge(
    function: Function, registries: Start, source: RegistryServer
) -> None:
    destination = registries(
        authentication=BasicAuthentication(LOGIN), quirks=Quirks(omits_challenges=True)
    )

    response = replicate(function, source, destination, DestCreds=CREDENTIALS)

    assert response["Status"] == "FAILED"
    assert "the registry did not request the credentials in DestCreds" in response["Reason"]
    assert {each.authorization_scheme for each in destination.requests} == {None}


def test_credentials_are_sent_after_a_redirect_to_a_login_page(
    function: Function, registries: Start, image: Image
) -> None:
    source = registries(
        authentication=BasicAuthentication(LOGIN), quirks=Quirks(has_login_page=True)
    )
    place(image, source.store, "team/app", "1")
    destination = registries()

    anonymous = replicate(function, source, destination)
    response = replicate(function, source, destination, SrcCreds=CREDENTIALS)

    assert anonymous["Status"] == "FAILED"
    assert "is not a container registry" in anonymous["Reason"]
    check_copy(response, destination, image)


def test_credentials_are_not_sent_for_a_challenge_of_another_host(
    function: Function, registries: Start
) -> None:
    def respond(request: Request) -> Response:
        challenge = f'Bearer realm="{request.origin}/token", Basic realm="x"'
        return Response(200, {"Content-Type": "text/html", "WWW-Authenticate": challenge})

    with LoopbackServer(respond) as page:
        source = registries(policy=OtherHostPolicy(page.url))

        response = replicate(function, source, registries(), SrcCreds=CREDENTIALS)

    assert response["Status"] == "FAILED"
    assert "is not a container registry" in response["Reason"]
    assert page.requests
    assert {each.authorization_scheme for each in page.requests} == {None}
    assert not [each for each in page.requests if each.path == "/token"]


class OtherHostPolicy(SpecificationPolicy):
    """A registry that redirects requests for manifests to a page of another host."""

    def __init__(self, origin: str) -> None:
        self._origin = origin

    def after(self, operation: Operation, request: Request, response: Response) -> Response:
        response = super().after(operation, request, response)
        is_manifest = "/manifests/" in request.path
        return Response(302, {"Location": f"{self._origin}/login"}) if is_manifest else response


class HtmlContentPolicy(SpecificationPolicy):
    """A registry that sends manifests and blobs as text/html."""

    def after(self, operation: Operation, request: Request, response: Response) -> Response:
        response = super().after(operation, request, response)
        return replace(response, headers={**response.headers, "Content-Type": "text/html"})


@pytest.mark.parametrize("credentials", [{}, {"SrcCreds": CREDENTIALS}])
def test_large_content_may_be_labelled_as_a_web_page(
    function: Function, registries: Start, credentials: dict[str, str]
) -> None:
    large = {"padding": "x" * 2_000_000}
    image = build_image([build_layer(3_000_000, seed=1)], annotations=large)
    source = registries(policy=HtmlContentPolicy())
    place(image, source.store, "team/app", "1")
    destination = registries()

    response = replicate(function, source, destination, **credentials)

    check_copy(response, destination, image)


def test_a_404_of_a_registry_without_authentication_is_final_after_one_ping(
    function: Function, registries: Start, source: RegistryServer
) -> None:
    response = function.create(
        f"{source.host}/team/app:2", f"{registries().host}/mirror/app:1", SrcCreds=CREDENTIALS
    )

    assert response["Status"] == "FAILED"
    assert "image not found (404 Not Found, MANIFEST_UNKNOWN" in response["Reason"]
    assert [each.path for each in source.requests].count("/v2/") == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("tokens", [TokenService(), TokenService(identity_tokens={"t0p": "robot"})])
def test_redirects_of_the_token_service_are_followed_with_credentials(
    function: Function, registries: Start, image: Image, status: int, tokens: TokenService
) -> None:
    source = registries(
        authentication=BearerAuthentication(LOGIN, anonymous_pull=False, token_service=tokens),
        quirks=Quirks(token_redirect=status),
    )
    place(image, source.store, "team/app", "1")
    destination = registries()

    response = replicate(function, source, destination, SrcCreds=CREDENTIALS)

    check_copy(response, destination, image)


def test_credentials_are_not_sent_to_another_host_that_the_token_service_redirects_to(
    function: Function, registries: Start, image: Image
) -> None:
    elsewhere = registries(authentication=BearerAuthentication(LOGIN, anonymous_pull=False))
    source = registries(
        authentication=BearerAuthentication(LOGIN, anonymous_pull=False),
        quirks=Quirks(token_redirect=307, redirect_origin=elsewhere.url),
    )
    place(image, source.store, "team/app", "1")

    response = replicate(function, source, registries(), SrcCreds=CREDENTIALS)

    assert response["Status"] == "FAILED"
    assert "authentication failed (401 Unauthorized" in response["Reason"]
    assert [each.status for each in elsewhere.requests if each.path == "/token"] == [401]


class ShortLivedTokens(BearerAuthentication):
    """An authentication with tokens whose `expires_in` ends before the next request."""

    def serve(self, request: Request) -> Response | None:
        response = super().serve(request)
        if response is None or response.status != 200:
            return response
        assert isinstance(response.body, bytes)
        document = {**json.loads(response.body), "expires_in": 1e-9}
        return replace(response, body=json.dumps(document).encode())


def test_an_expired_token_is_renewed_before_a_blob_is_uploaded(
    function: Function, registries: Start, source: RegistryServer, image: Image
) -> None:
    authentication = ShortLivedTokens(LOGIN, anonymous_pull=False)
    destination = registries(authentication=authentication)

    response = replicate(function, source, destination, DestCreds=CREDENTIALS)

    check_copy(response, destination, image)
    with_body = [each for each in destination.requests if each.request_bytes]
    assert len(with_body) == 4
    assert {each.authorization_scheme for each in with_body} == {"Bearer"}
    # one challenge, and no other request without a token
    assert [each.status for each in destination.requests].count(401) == 1


def test_a_400_for_an_expired_token_renews_the_token(
    function: Function, registries: Start, image: Image
) -> None:
    authentication = BearerAuthentication(LOGIN, anonymous_pull=False)
    source = registries(authentication=authentication, quirks=Quirks(expired_token_status=400))
    place(image, source.store, "team/app", "1")
    destination = registries()
    check_copy(replicate(function, source, destination, SrcCreds=CREDENTIALS), destination, image)
    authentication.revoke_all()

    response = replicate(function, source, registries(), SrcCreds=CREDENTIALS)

    assert response["Status"] == "SUCCESS", response["Reason"]


class BusyPings(BasicAuthentication):
    """An authentication whose first response to ``/v2/`` is a 503."""

    def __init__(self) -> None:
        super().__init__(LOGIN)
        self.pings = 0

    def serve(self, request: Request) -> Response | None:
        if request.path != "/v2/":
            return None
        self.pings += 1
        return Response(503) if self.pings == 1 else None


def test_a_challenge_is_requested_again_after_a_temporary_error(
    function: Function, registries: Start, image: Image
) -> None:
    authentication = BusyPings()
    source = registries(authentication=authentication, quirks=Quirks(anonymous_status=404))
    place(image, source.store, "team/app", "1")
    destination = registries()

    response = replicate(
        function, source, destination, SrcCreds=CREDENTIALS, RetryConfigs={"baseDelay": 0}
    )

    check_copy(response, destination, image)
    assert authentication.pings == 2


class ReadOnlyTokens(BearerAuthentication):
    """An authentication whose tokens do not allow a push."""

    def authorize(self, request: Request, accesses: tuple[Access, ...]) -> None:
        super().authorize(request, accesses)
        if request.method == "POST":
            super().authorize(replace(request, headers={}), accesses)


def test_a_401_for_a_valid_token_is_an_access_denied_error(
    function: Function, registries: Start, source: RegistryServer
) -> None:
    destination = registries(authentication=ReadOnlyTokens(LOGIN, anonymous_pull=False))

    response = replicate(function, source, destination, DestCreds=CREDENTIALS)

    assert response["Status"] == "FAILED"
    assert "access denied (401 Unauthorized, UNAUTHORIZED" in response["Reason"]
    assert "with the credentials in DestCreds. Allow that account to push" in response["Reason"]


def test_the_message_says_that_a_registry_did_not_request_the_credentials(
    function: Function, registries: Start, image: Image
) -> None:
    source = registries(policy=NoChallengePolicy())
    place(image, source.store, "team/app", "1")

    response = replicate(function, source, registries(), SrcCreds=CREDENTIALS)

    assert response["Status"] == "FAILED"
    assert "/team/app:1: access denied (403 Forbidden)" in response["Reason"]
    assert "and the registry did not request the credentials in SrcCreds" in response["Reason"]
    assert "no credentials were given" not in response["Reason"]


class NoChallengePolicy(SpecificationPolicy):
    """A registry that denies access to manifests without any challenge."""

    def after(self, operation: Operation, request: Request, response: Response) -> Response:
        response = super().after(operation, request, response)
        return Response(403) if "/manifests/" in request.path else response
