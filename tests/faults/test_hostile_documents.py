"""Hostile manifests and indexes are limited and rejected with an error."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.faults.fault_proxy import Exchange
from tests.faults.hostile_servers import (
    CONFIG,
    INDEX,
    LAYER,
    MANIFEST,
    SHA,
    HostilePair,
    respond,
    where,
)

from ecr_image_replicator.errors import (
    DigestMismatchError,
    InvalidManifestError,
    ReplicationError,
)


def descriptor(media_type: str = LAYER, digest: str = SHA, size: Any = 10) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest, "size": size}


def manifest_of(*layers: dict[str, Any]) -> dict[str, Any]:
    config = descriptor(CONFIG)
    return {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [*layers]}


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (descriptor(size=-1), r"layers\[0\] has an invalid size"),
        (descriptor(size=2**63), r"layers\[0\] has an invalid size"),
        (descriptor(size=1e9), r"layers\[0\] has an invalid size"),
        (descriptor(digest="md5:" + "0" * 32), "invalid digest"),
        (descriptor(digest="sha256:" + "0" * 63), "invalid digest"),
        (descriptor(digest="sha256:../../etc/passwd"), "invalid digest"),
    ],
)
def test_an_invalid_descriptor_is_rejected(
    pair: HostilePair, layer: dict[str, Any], message: str
) -> None:
    pair.source_serves(manifest_of(layer))
    pair.assert_fails(InvalidManifestError, message)


def test_a_layer_with_a_size_of_exabytes_is_rejected(pair: HostilePair) -> None:
    digest = next(iter(pair.image.blobs))
    document = manifest_of(descriptor(digest=digest, size=2**62))
    document["config"] = {**descriptor(CONFIG, digest), "size": len(pair.image.blobs[digest])}
    pair.source_serves(document)
    pair.assert_fails(ReplicationError, "bytes and the manifest says 4611686018427387904")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 200_000, "too many JSON values"),
        (b"[" * 90_000, "not valid JSON"),
        (b'{"a":' * 90_000, "not valid JSON"),
        (b"[" + b"0," * 10**6 + b"0]", "too many JSON values"),
        (b'{"schemaVersion": 2, "schemaVersion": 2}', "not valid JSON"),
        (b'{"schemaVersion": ' + b"9" * 10**6 + b"}", "not valid JSON"),
        (b'{"schemaVersion": NaN}', "not valid JSON"),
        (b"\xff\xfe{}", "not valid JSON"),
        (b'"text"', "not a JSON object"),
    ],
)
def test_a_json_bomb_is_rejected(pair: HostilePair, content: bytes, message: str) -> None:
    pair.source_serves(content)
    pair.assert_fails(InvalidManifestError, f"^cannot pull 127.0.0.1:.*invalid: {message}")


def serve_children(pair: HostilePair, make: Callable[[str], tuple[bytes, str]]) -> None:
    """Serve each reference with the manifest that `make` returns for it."""

    def inject(exchange: Exchange) -> None:
        reference = exchange.request.target.rpartition("/")[2]
        content, media_type = make(reference)
        respond(content, media_type=media_type)(exchange)

    pair.source.reset_exchanges(where("/manifests/", "", inject))


def index_of(children: list[dict[str, Any]], padding: str = "") -> bytes:
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": children,
            "annotations": {"padding": padding},
        }
    ).encode()


def nested(levels: int, width: int, padding: str = "") -> tuple[bytes, dict[str, bytes]]:
    """Return nested indexes of this depth and width: the outermost one, and all by digest."""
    import hashlib  # noqa: PLC0415 - used only here

    known: dict[str, bytes] = {}
    level = [index_of([], f"{padding}{number}") for number in range(width)]
    for _ in range(levels):
        children = []
        for content in level:
            digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
            known[digest] = content
            children.append(descriptor(INDEX, digest, len(content)))
        level = [index_of(children)]
    return level[0], known


@pytest.mark.parametrize(
    ("levels", "width", "padding", "message"),
    [
        (6, 1, "", "nests deeper than 4"),
        (1, 1001, "", "more than 1000 manifests"),
        (1, 6, "x" * 3_500_000, "larger than 16777216 bytes together"),
    ],
)
def test_deep_and_wide_indexes_are_limited(
    pair: HostilePair, levels: int, width: int, padding: str, message: str
) -> None:
    outermost, known = nested(levels, width, padding)
    serve_children(pair, lambda reference: (known.get(reference, outermost), INDEX))
    pair.assert_fails(InvalidManifestError, message, Platforms="all")


def test_an_index_that_contains_itself_is_a_digest_mismatch(pair: HostilePair) -> None:
    content = index_of([descriptor(INDEX, SHA, 100)])
    serve_children(pair, lambda _: (content, INDEX))
    pair.assert_fails(DigestMismatchError, f"the manifest {SHA} from .* hashes to", Platforms="all")
