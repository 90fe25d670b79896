"""TLS in memory: one system call for many records.

Through a socket of `ssl`, OpenSSL makes two system calls for each record of 16 KiB that it reads.
Here ciphertext is received in blocks as large as the caller's buffer. See
docs/decisions/0018-decrypt-received-tls-in-memory.md.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final, cast

from urllib3.util.ssltransport import SSLTransport

if TYPE_CHECKING:
    from collections.abc import Callable

#: Ciphertext that is decrypted at once: it stays in the processor's cache.
_FEED_BYTES: Final = 64 * 1024


class TlsSocket(SSLTransport):
    """A connected socket with TLS; `http.client` reads with `recv_into` alone."""

    def recv_into(
        self, buffer: bytearray | memoryview, nbytes: int | None = None, _flags: int = 0
    ) -> int:
        """Read at least one byte into the buffer, and what else has arrived; 0 at the end.

        Raises
        ------
        OSError
            As a socket's `recv_into` does; `ssl.SSLError` when the received bytes are not TLS.
        """
        view = memoryview(buffer)[:nbytes]
        # typeshed has only the overload for bytes
        read = cast("Callable[[int, memoryview], int]", self.sslobj.read)
        count = received = fed = 0
        while True:
            # do not overwrite ciphertext that is not decrypted yet
            end = len(view) if fed == received else fed
            try:
                while count < end:
                    more = read(end - count, view[count:end])
                    if not more:
                        return count
                    count += more
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLEOFError:
                return count  # no close_notify: HTTP knows from its lengths if bytes are missing
            if fed < received:
                fed += self.incoming.write(view[fed : min(received, fed + _FEED_BYTES)])
            elif count:
                return count
            else:
                received, fed = self._receive(view), 0

    def _receive(self, space: memoryview) -> int:
        """Receive ciphertext into the buffer in which it will be replaced by its plaintext."""
        if self.outgoing.pending:  # a response to a key update (RFC 8446, section 4.6.3)
            self.socket.sendall(self.outgoing.read())
        count = self.socket.recv_into(space)
        if not count:
            self.incoming.write_eof()
        return count

    @property
    def _io_refs(self) -> int:
        """The number of file objects of the socket; a second layer of TLS counts them here."""
        return cast("int", self.socket._io_refs)  # type: ignore[attr-defined] # noqa: SLF001

    @_io_refs.setter
    def _io_refs(self, count: int) -> None:
        self.socket._io_refs = count  # type: ignore[attr-defined] # noqa: SLF001
