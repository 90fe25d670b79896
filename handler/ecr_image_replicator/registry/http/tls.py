"""TLS in memory: many records to a system call.

Through a socket of `ssl`, OpenSSL asks the kernel twice for each record of 16 KiB that it reads.
Here ciphertext is received in blocks as large as the caller's. See
docs/decisions/0018-decrypt-received-tls-in-memory.md.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final, cast

from urllib3.util.ssltransport import SSLTransport

if TYPE_CHECKING:
    from collections.abc import Callable


#: Of ciphertext: what is decrypted at once stays in a processor's cache, and OpenSSL's copy small.
_FEED_BYTES: Final = 64 * 1024


class TlsSocket(SSLTransport):
    """A connected socket with TLS on it; `http.client` reads by `recv_into` alone."""

    def recv_into(
        self, buffer: bytearray | memoryview, nbytes: int | None = None, _flags: int = 0
    ) -> int:
        """Fill the buffer as far as bytes have come, at least one; 0 at the end of the stream.

        Raises
        ------
        OSError
            As a socket's `recv_into` does; `ssl.SSLError` when what came is not TLS.
        """
        view = memoryview(buffer)[:nbytes]
        # typeshed knows of bytearrays only, and not that it then gives a count
        read = cast("Callable[[int, memoryview], int]", self.sslobj.read)
        count = received = fed = 0
        while True:
            # ciphertext that is still to be decrypted is not to be overwritten
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
                return count  # no farewell: HTTP knows by its lengths whether anything is missing
            if fed < received:
                fed += self.incoming.write(view[fed : min(received, fed + _FEED_BYTES)])
            elif count:
                return count
            else:
                received, fed = self._receive(view), 0

    def _receive(self, space: memoryview) -> int:
        """Wait for ciphertext, which passes through space that its plaintext is going to fill."""
        if self.outgoing.pending:  # an answer to an update of keys
            self.socket.sendall(self.outgoing.read())
        count = self.socket.recv_into(space)
        if not count:
            self.incoming.write_eof()
        return count

    @property
    def _io_refs(self) -> int:
        """Files made of the socket, which another layer of TLS on this one counts here."""
        return cast("int", self.socket._io_refs)  # type: ignore[attr-defined] # noqa: SLF001

    @_io_refs.setter
    def _io_refs(self, count: int) -> None:
        self.socket._io_refs = count  # type: ignore[attr-defined] # noqa: SLF001
