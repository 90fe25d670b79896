"""Content codings that were not requested (RFC 9110, section 8.4.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ecr_image_replicator.errors import ProtocolError

if TYPE_CHECKING:
    from ecr_image_replicator.errors import Side
    from ecr_image_replicator.registry.http.messages import StreamedResponse

#: Codings that change the bytes. Other values are labels of servers, such as aws-chunked
#: (ceph#64440) or utf-8.
_CODINGS: Final = frozenset(
    {"gzip", "x-gzip", "compress", "x-compress", "deflate", "br", "zstd", "dcb", "dcz"}
)


def has_coding(response: StreamedResponse) -> bool:
    """Return whether a response says that its body is encoded.

    The body need not be: web servers label compressed layers so (moby#17595).
    """
    encoding = response.header("content-encoding")
    return not _CODINGS.isdisjoint(each.strip().lower() for each in encoding.split(","))


def encoding_error(response: StreamedResponse, side: Side) -> ProtocolError:
    """Return the error for a body that is encoded."""
    return ProtocolError(
        f"invalid response from {response.url.authority}: the body has a Content-Encoding "
        "that was not requested",
        side=side,
        status=response.status,
    )
