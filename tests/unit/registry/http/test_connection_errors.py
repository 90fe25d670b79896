from __future__ import annotations

import errno
import http.client
import socket
import ssl

import pytest

from ecr_image_replicator.registry.http.connection_errors import (
    SilentServerError,
    TunnelRejection,
    describe_failure,
    find_tunnel_rejection,
    hint_for,
    is_certificate_error,
    is_not_tls,
)
from ecr_image_replicator.registry.http.proxies import Proxy

URL = "https://quay.io/v2/?signature=hunter2"


def _ssl_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"{reason} at {URL}")
    error.reason = reason
    return error


def _certificate_error(code: int = 18) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, URL)
    error.verify_code = code
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
        (_certificate_error(), "certificate verification failed (self-signed certificate)"),
        (_ssl_error("WRONG_VERSION_NUMBER"), "TLS failed (wrong version number)"),
        (socket.gaierror(-2, URL), "DNS lookup failed"),
        (TimeoutError(URL), "connection timed out"),
        (ConnectionRefusedError(errno.ECONNREFUSED, URL), "connection refused"),
        (ConnectionResetError(errno.ECONNRESET, URL), "connection reset by peer"),
        (SilentServerError(URL), "TLS handshake timed out"),
        (http.client.BadStatusLine(URL), "invalid response (not HTTP)"),
        (http.client.RemoteDisconnected(URL), "connection closed before the end of the response"),
        (RuntimeError(URL), "connection closed before the end of the response"),
    ],
)
def test_the_message_for_a_failure_has_its_cause_and_no_url(cause: Exception, words: str) -> None:
    wrapped = LibraryError(f"Max retries exceeded with {URL}", LibraryError(URL, reason=cause))
    chained = LibraryError(URL)
    chained.__cause__ = wrapped
    for error in (cause, wrapped, chained):
        assert describe_failure(error) == words


def test_cyclic_exception_causes_are_visited_once() -> None:
    first, second = LibraryError(URL), LibraryError(URL)
    first.reason, second.reason = second, first
    assert describe_failure(first) == "connection closed before the end of the response"


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (_ssl_error("WRONG_VERSION_NUMBER"), True),
        (_ssl_error("HTTP_REQUEST"), True),
        (ssl.SSLEOFError(8, "EOF"), True),
        (ssl.SSLZeroReturnError(6, "TLS/SSL connection has been closed (EOF)"), True),
        (SilentServerError("no byte"), True),
        (ConnectionResetError(errno.ECONNRESET, "reset"), True),
        (_ssl_error("TLSV1_ALERT_INTERNAL_ERROR"), False),
        (_certificate_error(), False),
        (TimeoutError(), False),
        (ConnectionRefusedError(), False),
    ],
)
def test_a_server_without_tls_is_recognized(cause: Exception, expected: bool) -> None:
    assert is_not_tls(LibraryError(URL, reason=cause)) is expected


def test_a_certificate_verification_error_is_recognized() -> None:
    assert is_certificate_error(LibraryError(URL, reason=_certificate_error()))
    assert not is_certificate_error(LibraryError(URL, reason=_ssl_error("HTTP_REQUEST")))


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        (18, "name its bundle in SSL_CERT_FILE"),
        (20, "name its bundle in SSL_CERT_FILE"),
        (9, "dates"),
        (10, "Renew"),
        (62, "host name that the certificate has"),
        (64, "host name that the certificate has"),
    ],
)
def test_a_bundle_is_suggested_only_for_an_unknown_authority(code: int, hint: str) -> None:
    assert hint in hint_for(LibraryError(URL, reason=_certificate_error(code)))


@pytest.mark.parametrize("reason", ["WRONG_VERSION_NUMBER", "HTTP_REQUEST"])
def test_plain_http_is_suggested_for_a_response_without_tls(reason: str) -> None:
    assert "PLAIN_HTTP_REGISTRIES" in hint_for(LibraryError(URL, reason=_ssl_error(reason)))
    assert hint_for(LibraryError(URL, reason=_ssl_error("TLSV1_ALERT_INTERNAL_ERROR"))) == ""


def test_a_rejected_tunnel_is_recognized_only_with_a_proxy() -> None:
    error = LibraryError(URL, reason=OSError("Tunnel connection failed: 407 Authentication"))
    proxy = Proxy.parse("proxy.example:3128", "HTTPS_PROXY")
    assert find_tunnel_rejection(error, proxy) == TunnelRejection(proxy, 407)
    assert find_tunnel_rejection(error, None) is None
    assert find_tunnel_rejection(LibraryError(URL), proxy) is None
