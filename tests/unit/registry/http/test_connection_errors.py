from __future__ import annotations

import errno
import socket
import ssl

import pytest

from ecr_image_replicator.registry.http.connection_errors import (
    Proxy,
    ProxyRefusal,
    describe_fault,
    find_proxy_refusal,
    is_certificate_fault,
    is_not_tls,
)

URL = "https://quay.io/v2/?signature=hunter2"


def _ssl_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"{reason} at {URL}")
    error.reason = reason
    return error


def _certificate_error() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, URL)
    error.verify_message = "self-signed certificate"
    return error


class LibraryError(Exception):
    """Wraps another as HTTP libraries do."""

    def __init__(self, *args: object, reason: object = None) -> None:
        super().__init__(*args)
        self.reason = reason


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (_certificate_error(), "its certificate is not trusted (self-signed certificate)"),
        (_ssl_error("WRONG_VERSION_NUMBER"), "TLS failed (wrong version number)"),
        (socket.gaierror(-2, URL), "its name cannot be resolved"),
        (TimeoutError(URL), "it did not answer in time"),
        (ConnectionRefusedError(errno.ECONNREFUSED, URL), "connection refused"),
        (ConnectionResetError(errno.ECONNRESET, URL), "connection reset by peer"),
        (RuntimeError(URL), "the connection was closed in the middle"),
    ],
)
def test_a_fault_is_described_by_its_cause_and_without_any_url(
    cause: Exception, words: str
) -> None:
    wrapped = LibraryError(f"Max retries exceeded with {URL}", LibraryError(URL, reason=cause))
    chained = LibraryError(URL)
    chained.__cause__ = wrapped
    for error in (cause, wrapped, chained):
        assert describe_fault(error) == words


def test_exceptions_that_wrap_each_other_are_walked_once() -> None:
    first, second = LibraryError(URL), LibraryError(URL)
    first.reason, second.reason = second, first
    assert describe_fault(first) == "the connection was closed in the middle"


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (_ssl_error("WRONG_VERSION_NUMBER"), True),
        (_ssl_error("HTTP_REQUEST"), True),
        (ssl.SSLEOFError(8, "EOF"), True),
        (ConnectionResetError(errno.ECONNRESET, "reset"), True),
        (_ssl_error("TLSV1_ALERT_INTERNAL_ERROR"), False),
        (_certificate_error(), False),
        (TimeoutError(), False),
        (ConnectionRefusedError(), False),
    ],
)
def test_a_server_that_does_not_speak_tls_is_recognised(cause: Exception, expected: bool) -> None:
    assert is_not_tls(LibraryError(URL, reason=cause)) is expected


def test_a_certificate_that_is_not_trusted_is_no_passing_trouble() -> None:
    assert is_certificate_fault(LibraryError(URL, reason=_certificate_error()))
    assert not is_certificate_fault(LibraryError(URL, reason=_ssl_error("HTTP_REQUEST")))


def test_only_a_proxy_that_was_asked_can_have_refused() -> None:
    error = LibraryError(URL, reason=OSError("Tunnel connection failed: 407 Authentication"))
    proxy = Proxy("proxy.example:3128", has_login=False)
    assert find_proxy_refusal(error, proxy) == ProxyRefusal(proxy, 407)
    assert find_proxy_refusal(error, None) is None
    assert find_proxy_refusal(LibraryError(URL), proxy) is None
