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
from local.web import Request, Response
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
