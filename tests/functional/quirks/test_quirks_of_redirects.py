"""Redirects of registries and their proxies. docs/compatibility.md has the reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from local.certificates import CertificateAuthority
from local.images import Image, place
from local.registry import (
    BasicAuthentication,
    BearerAuthentication,
    Operation,
    Quirks,
    RegistryServer,
    SpecificationPolicy,
)
from local.web import LoopbackServer, Request, Response
from tests.functional.conftest import Function
from tests.functional.quirks.replicating import CREDENTIALS, LOGIN, Start, check_copy, replicate


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("request_kind", ["upload_redirect", "manifest_redirect", "body_redirect"])
@pytest.mark.parametrize("fragment", ["", "#part"])
def test_a_redirect_repeats_method_and_body(
    function: Function,
    registries: Start,
    source: RegistryServer,
    image: Image,
    request_kind: str,
    status: int,
    fragment: str,
) -> None:
    settings: dict[str, Any] = {request_kind: status, "location_fragment": fragment}
    quirks = Quirks(**settings)
    destination = registries(authentication=BasicAuthentication(LOGIN), quirks=quirks)

    response = replicate(function, source, destination, DestCreds=CREDENTIALS)

    check_copy(response, destination, image)


@pytest.mark.parametrize("request_kind", ["upload_redirect", "manifest_redirect"])
def test_authorization_is_not_sent_to_another_host_after_a_redirect(
    function: Function,
    registries: Start,
    source: RegistryServer,
    image: Image,
    request_kind: str,
) -> None:
    elsewhere = registries()
    place(image, elsewhere.store, "mirror/app")
    settings: dict[str, Any] = {request_kind: 307, "redirect_origin": elsewhere.url}
    destination = registries(
        authentication=BasicAuthentication(LOGIN),
        quirks=Quirks(**settings),
    )

    response = replicate(function, source, destination, DestCreds=CREDENTIALS)

    found = elsewhere if request_kind == "manifest_redirect" else destination
    assert response["Status"] == ("SUCCESS" if found is elsewhere else "FAILED"), response["Reason"]
    assert elsewhere.requests
    assert {each.authorization_scheme for each in elsewhere.requests} == {None}


def test_a_303_is_followed_by_a_request_without_the_body(
    function: Function, registries: Start, source: RegistryServer, image: Image
) -> None:
    destination = registries(policy=SeeOtherPolicy())

    response = replicate(function, source, destination)

    check_copy(response, destination, image)


class SeeOtherPolicy(SpecificationPolicy):
    """A registry that responds to each successful PUT with 303 See Other."""

    def after(self, operation: Operation, request: Request, response: Response) -> Response:
        if request.method == "PUT" and response.status == 201:
            return replace(response, status=303)
        return super().after(operation, request, response)


class LocationPolicy(SpecificationPolicy):
    """A registry that rewrites the Location of an upload."""

    def __init__(self, write: Callable[[str, Request], str]) -> None:
        self._write = write

    def after(self, operation: Operation, request: Request, response: Response) -> Response:
        response = super().after(operation, request, response)
        location = response.headers.get("Location", "")
        if request.method != "POST" or not location:
            return response
        headers = {**response.headers, "Location": self._write(location, request)}
        return replace(response, headers=headers)


LOCATIONS: dict[str, Callable[[str, Request], str]] = {
    "last segment": lambda path, _: path.rpartition("/")[2],
    "dot": lambda path, _: "./" + path.rpartition("/")[2],
    "two dots": lambda path, _: "../uploads/" + path.rpartition("/")[2],
    "no scheme": lambda path, request: request.origin.partition(":")[2] + path,
    "absolute": lambda path, request: request.origin + path,
    "upper case": lambda path, request: request.origin.replace("http:", "HTTP:") + path,
    "another name": lambda path, request: request.origin.replace("127.0.0.1", "localhost") + path,
    "blanks": lambda path, _: f"  {path}  ",
    "ampersand": lambda path, _: f"{path}&",
    "escapes": lambda path, _: f"{path}&a=%2Fb%3D%3d+c;d&&e",
}


@pytest.mark.parametrize("form", LOCATIONS)
def test_an_upload_location_is_used_in_every_form(
    function: Function, registries: Start, source: RegistryServer, image: Image, form: str
) -> None:
    destination = registries(policy=LocationPolicy(LOCATIONS[form]))

    check_copy(replicate(function, source, destination), destination, image)


class RedirectChainPolicy(SpecificationPolicy):
    """A registry that redirects a GET of a blob a number of times, to a query of its path."""

    def __init__(self, redirects: int) -> None:
        self._redirects = redirects

    def after(self, operation: Operation, request: Request, response: Response) -> Response:
        redirect = int(request.parameter("redirect") or 0)
        if request.method != "GET" or "/blobs/" not in request.path or redirect == self._redirects:
            return super().after(operation, request, response)
        return Response(302, {"Location": f"?redirect={redirect + 1}"})


@pytest.mark.parametrize("redirects", [1, 3, 10])
def test_consecutive_redirects_are_followed(
    function: Function, registries: Start, image: Image, redirects: int
) -> None:
    source, destination = registries(policy=RedirectChainPolicy(redirects)), registries()
    place(image, source.store, "team/app", "1")

    check_copy(replicate(function, source, destination), destination, image)


class StoragePolicy(SpecificationPolicy):
    """A registry that redirects each GET of a blob to another origin."""

    def __init__(self, origin: str) -> None:
        self._origin = origin

    def after(self, operation: Operation, request: Request, response: Response) -> Response:
        if request.method != "GET" or "/blobs/" not in request.path:
            return super().after(operation, request, response)
        return Response(307, {"Location": f"{self._origin}/blob?X-Amz-Signature=secret"})


@pytest.mark.parametrize("status", [401, 403])
def test_access_denied_by_a_redirect_target_is_not_reported_as_the_registrys(
    function: Function, registries: Start, image: Image, status: int
) -> None:
    body = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>No</Message></Error>"
    denial = Response(status, {"Content-Type": "application/xml"}, body)
    with LoopbackServer(lambda _: denial) as storage:
        source = registries(policy=StoragePolicy(storage.url))
        place(image, source.store, "team/app", "1")

        response = replicate(function, source, registries())

    assert response["Status"] == "FAILED"
    assert (
        f"access denied by {storage.host}, to which the registry redirected" in (response["Reason"])
    )
    assert "AccessDenied: No" in response["Reason"]
    assert "SrcCreds" not in response["Reason"]
    assert "X-Amz-Signature" not in response["Reason"]


def test_an_http_location_on_the_registrys_own_host_is_upgraded_to_https(
    new_function: Callable[[], Function],
    registries: Start,
    source: RegistryServer,
    image: Image,
    trusted: CertificateAuthority,
) -> None:
    destination = registries(
        tls=trusted.server_context(),
        authentication=BearerAuthentication(LOGIN, anonymous_pull=False),
        quirks=Quirks(plain_http_locations=True),
    )

    response = replicate(new_function(), source, destination, DestCreds=CREDENTIALS)

    check_copy(response, destination, image)


def test_an_http_location_on_another_host_is_blocked(
    new_function: Callable[[], Function],
    registries: Start,
    source: RegistryServer,
    trusted: CertificateAuthority,
) -> None:
    elsewhere = registries()
    destination = registries(
        tls=trusted.server_context(),
        quirks=Quirks(upload_redirect=307, redirect_origin=elsewhere.url),
    )

    response = replicate(new_function(), source, destination)

    assert response["Status"] == "FAILED"
    assert "blocked redirect from https to http" in response["Reason"]
    assert elsewhere.requests == ()
