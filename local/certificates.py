"""TLS certificates for loopback: an authority, and server certificates that it signs."""

from __future__ import annotations

import ssl
import threading
from pathlib import Path
from typing import Any

import trustme

_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


class _TlsSocket(ssl.SSLSocket):
    """Closes itself if the peer is gone before the handshake, as from Python 3.13 on."""

    def getpeername(self) -> Any:
        """Return the peer's address; close the socket if there is no peer any more."""
        try:
            return super().getpeername()
        except OSError as error:
            self.close()
            raise ConnectionResetError from error


class CertificateAuthority:
    """A certificate authority with a new key.

    `ca_file` (PEM, without the key) is written into `directory`, for SSL_CERT_FILE,
    REQUESTS_CA_BUNDLE or AWS_CA_BUNDLE.
    """

    def __init__(self, directory: Path) -> None:
        self._authority = trustme.CA(organization_name="Loopback")
        self.ca_file = directory / "loopback-ca.pem"
        self._authority.cert_pem.write_to_path(str(self.ca_file))

    def server_context(self, *names: str) -> ssl.SSLContext:
        """Return a server's context for `localhost`, 127.0.0.1, ::1 and these names."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.sslsocket_class = _TlsSocket
        self._authority.issue_cert(*_LOOPBACK_NAMES, *names).configure_cert(context)
        return context

    def any_name_context(self) -> ssl.SSLContext:
        """Return a server's context with a certificate for every requested name (SNI, RFC 6066)."""
        contexts: dict[str, ssl.SSLContext] = {}
        lock = threading.Lock()

        def choose(
            connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext
        ) -> None:
            if name is None:
                return
            with lock:
                if name not in contexts:
                    contexts[name] = self.server_context(name)
            connection.context = contexts[name]

        context = self.server_context()
        context.sni_callback = choose
        return context

    def client_context(self) -> ssl.SSLContext:
        """Return a client's context that trusts only this authority."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        context.sslsocket_class = _TlsSocket
        return context
