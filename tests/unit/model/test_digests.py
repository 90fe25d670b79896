from __future__ import annotations

import hashlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.unit.builders import FakeReader

from ecr_image_replicator.errors import DigestMismatchError, InvalidDigestError
from ecr_image_replicator.model.digests import Digest, VerifiedStream

HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize("text", [f"sha256:{HEX}", f"sha512:{HEX}{HEX}"])
def test_a_parsed_digest_is_formatted_unchanged(text: str) -> None:
    assert str(Digest.parse(text)) == text


@pytest.mark.parametrize(
    "value",
    [
        "",
        "sha256",
        "sha256:",
        HEX,
        f"sha256:{HEX[1:]}",
        f"sha256:{HEX}0",
        f"sha256:{HEX}\n",
        f"sha256:{HEX.upper()}",
        f"sha256:{HEX[:-1]}g",
        f"sha512:{HEX}",
        f"md5:{HEX[:32]}",
        f"SHA256:{HEX}",
        f"sha256:../../{HEX[6:]}",
        None,
        7,
        b"sha256:" + HEX.encode(),
        [f"sha256:{HEX}"],
    ],
)
def test_an_invalid_digest_is_rejected(value: object) -> None:
    with pytest.raises(InvalidDigestError):
        Digest.parse(value)


@given(st.one_of(st.text(), st.from_regex(r"sha(256|512):[0-9a-f]{63,65}"), st.none(), st.floats()))
@example([[[]]])
def test_arbitrary_values_are_digests_or_rejected(value: object) -> None:
    try:
        digest = Digest.parse(value)
    except InvalidDigestError as error:
        assert len(str(error)) < 400  # noqa: PT017 - a digest is valid too
    else:
        assert str(digest) == value


def test_a_deeply_nested_value_is_rejected() -> None:
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(InvalidDigestError):
        Digest.parse(nested)


@given(st.binary(), st.sampled_from(["sha256", "sha512"]))
def test_content_is_addressed_by_its_hash(content: bytes, algorithm: str) -> None:
    digest = Digest.of(content, algorithm)
    assert digest.encoded == hashlib.new(algorithm, content).hexdigest()
    assert Digest.parse(str(digest)) == digest


def _received(
    content: bytes, *, digest: Digest, size_bytes: int, buffer_bytes: int = 4, chunk_bytes: int = 4
) -> tuple[bytes, list[int], DigestMismatchError | None]:
    """Return the received bytes, the reported lengths and the error."""
    received = bytearray()
    reported: list[int] = []
    stream = VerifiedStream(
        FakeReader(content, chunk_bytes=chunk_bytes),
        digest,
        size_bytes,
        buffer=memoryview(bytearray(buffer_bytes)),
        on_bytes=reported.append,
    )
    try:
        for view in stream:
            received += view
    except DigestMismatchError as error:
        return bytes(received), reported, error
    return bytes(received), reported, None


@given(
    st.binary(max_size=64),
    st.integers(1, 70),
    st.integers(1, 70),
    st.sampled_from(["sha256", "sha512"]),
)
def test_matching_content_is_read_with_any_buffer_size(
    content: bytes, buffer_bytes: int, chunk_bytes: int, algorithm: str
) -> None:
    received, reported, error = _received(
        content,
        digest=Digest.of(content, algorithm),
        size_bytes=len(content),
        buffer_bytes=buffer_bytes,
        chunk_bytes=chunk_bytes,
    )
    assert error is None
    assert received == content
    assert sum(reported) == len(content)


def test_an_empty_blob_is_read() -> None:
    assert _received(b"", digest=Digest.of(b""), size_bytes=0) == (b"", [], None)


def test_empty_content_with_another_digest_is_rejected() -> None:
    _, _, error = _received(b"", digest=Digest.of(b"x"), size_bytes=0)
    assert "received sha256:" in str(error)


@given(st.binary(min_size=1, max_size=64), st.integers(1, 9), st.data())
def test_a_stream_with_a_mismatch_never_returns_its_last_bytes(
    content: bytes, buffer_bytes: int, data: st.DataObject
) -> None:
    kind = data.draw(st.sampled_from(["short", "long", "changed"]))
    if kind == "short":
        wrong = content[: data.draw(st.integers(0, len(content) - 1))]
    elif kind == "long":
        wrong = content + data.draw(st.binary(min_size=1, max_size=9))
    else:
        at = data.draw(st.integers(0, len(content) - 1))
        wrong = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
    received, reported, error = _received(
        wrong, digest=Digest.of(content), size_bytes=len(content), buffer_bytes=buffer_bytes
    )
    assert error is not None
    assert len(received) < len(content)
    assert sum(reported) == len(received)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"12345", "ended 3 bytes early"),
        (b"123456789", "it is longer"),
        (b"12345679", f"received {Digest.of(b'12345679')}"),
    ],
)
def test_a_digest_mismatch_has_the_expected_and_received_digests(
    content: bytes, found: str
) -> None:
    wanted = Digest.of(b"12345678")
    _, _, error = _received(content, digest=wanted, size_bytes=8)
    assert found in str(error)
    assert str(error).startswith(f"digest mismatch, expected {wanted} of 8 bytes, ")


def test_every_chunk_is_a_view_of_the_same_buffer() -> None:
    buffer = bytearray(4)
    content = b"0123456789"
    stream = VerifiedStream(
        FakeReader(content),
        Digest.of(content),
        len(content),
        buffer=memoryview(buffer),
        on_bytes=lambda _: None,
    )
    assert len(stream) == 10
    assert all(view.obj is buffer for view in stream)
