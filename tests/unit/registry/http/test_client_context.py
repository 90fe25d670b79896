from __future__ import annotations

import gc
import select
import socket
import ssl
import struct
import warnings

import pytest

from ecr_image_replicator.registry.http.pools import ClientContext

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@pytest.mark.parametrize("is_reset", [True, False])
def test_a_connection_that_breaks_before_the_handshake_is_closed(*, is_reset: bool) -> None:
    context = ClientContext(ssl.PROTOCOL_TLS_CLIENT)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with socket.create_server(("127.0.0.1", 0)) as listener:
            connected = socket.create_connection(listener.getsockname(), timeout=60)
            own_address = connected.getsockname()
            accepted, _ = listener.accept()
            if is_reset:
                accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            else:
                connected.shutdown(socket.SHUT_RDWR)  # as another thread does at the deadline
            accepted.close()
            arrived = select.poll()
            arrived.register(connected, 0)
            assert arrived.poll(60_000)  # the end of the connection
            with pytest.raises(ConnectionResetError):
                context.wrap_socket(connected, server_hostname="localhost")
            assert connected.fileno() == -1
        gc.collect()
    assert not [each for each in caught if str(own_address) in str(each.message)]
