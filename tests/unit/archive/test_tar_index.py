from __future__ import annotations

import contextlib
import io
import tarfile
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.archives import MemoryObject, link, tar

from ecr_image_replicator.archive.tar_headers import parse_pax
from ecr_image_replicator.archive.tar_index import PAGE_BYTES, Member, TarIndex
from ecr_image_replicator.errors import InvalidArchiveError

FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
LONG = "/".join(["folder" * 5] * 6)
LARGE = bytes(range(256)) * 2000


def index_of(content: bytes) -> TarIndex:
    return TarIndex(MemoryObject(content), "s3://bucket/key")


def read(index: TarIndex, name: str) -> bytes:
    member = index.find(name)
    assert member is not None
    return index.read(member)


def error_message(content: bytes, name: str = "wanted") -> str:
    with pytest.raises(InvalidArchiveError) as caught:
        index_of(content).find(name)
    message = str(caught.value)
    assert message.startswith("invalid archive s3://bucket/key: ")
    return message


@pytest.mark.parametrize("format_", FORMATS)
def test_files_are_found_in_every_format(format_: int) -> None:
    files = [("a", b"1"), (f"{LONG[:90]}/b", LARGE), ("empty", b""), ("c/d", b"3" * 512)]
    index = index_of(tar(*files, format=format_))
    for name, content in reversed(files):
        assert read(index, name) == content
    assert index.find("none") is None


@pytest.mark.parametrize("format_", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_and_non_ascii_names_and_link_targets_are_read(format_: int) -> None:
    files = [(LONG + "/" + "x" * 120, b"long"), ("ünïcödé/文件", b"script")]
    index = index_of(
        tar(*files, link("link", LONG + "/" + "x" * 120, tarfile.SYMTYPE), format=format_)
    )
    for name, content in files:
        assert read(index, name) == content
    assert read(index, "link") == b"long"


@pytest.mark.parametrize("name", ["./a/b", "/a/b", "a//b", "a/./b"])
def test_names_are_normalized_as_paths(name: str) -> None:
    assert read(index_of(tar((name, b"x"))), "a/b") == b"x"


@pytest.mark.parametrize("format_", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_size_above_8_gib_is_read(format_: Literal[1, 2]) -> None:
    entry = tarfile.TarInfo("huge")
    entry.size = 9 * 1024**3
    stream = io.BytesIO(entry.tobuf(format_))
    huge = MemoryObject(stream.getvalue())
    with pytest.raises(InvalidArchiveError, match="truncated within 'huge', after 0 of 9663676"):
        TarIndex(huge, "x").find("later")


def test_the_access_time_of_an_incremental_archive_is_not_part_of_the_name() -> None:
    header = bytearray(tar(("folder/wanted", b"1"))[:512])
    header[345:369] = b"14737022325\0" * 2  # as tar --listed-incremental writes it
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    content = bytes(header) + b"1".ljust(512, b"\0") + bytes(1024)
    assert read(index_of(content), "folder/wanted") == b"1"


def test_only_headers_are_read_and_each_byte_once() -> None:
    content = tar(("one", LARGE), ("two", LARGE), ("manifest.json", b"[]"))
    stored = MemoryObject(content)
    index = TarIndex(stored, "x")
    assert read(index, "manifest.json") == b"[]"
    assert stored.bytes_read <= 3 * PAGE_BYTES
    assert read(index, "two") == LARGE
    assert read(index, "one") == LARGE
    assert not stored.repeated_reads
    assert stored.bytes_read <= len(content)


def test_the_index_reads_only_the_required_headers() -> None:
    stored = MemoryObject(tar(("index.json", b"{}"), ("one", LARGE), ("two", LARGE)))
    assert read(TarIndex(stored, "x"), "index.json") == b"{}"
    assert stored.reads == [(0, PAGE_BYTES)]


def test_a_link_is_followed_once() -> None:
    index = index_of(
        tar(
            link("folder/link", "../other/layer.tar"),
            link("hard", "other/layer.tar", tarfile.LNKTYPE),
            link("absolute", "/other/layer.tar"),
            ("other/layer.tar", b"layer"),
        )
    )
    for name in ("folder/link", "hard", "absolute"):
        assert read(index, name) == b"layer"


def test_a_link_to_a_missing_file_or_a_link_is_rejected() -> None:
    assert "'wanted' is a link to 'gone', which is not found" in error_message(
        tar(link("wanted", "gone"))
    )
    links = tar(link("wanted", "next"), link("next", "last"), ("last", b""))
    assert "'wanted' is a link to 'next', which is a link itself" in error_message(links)


def test_the_first_of_two_files_with_the_same_name_is_used() -> None:
    assert read(index_of(tar(("a", b"first"), ("a", b"second"), ("b", b""))), "a") == b"first"


def test_two_manifest_json_files_are_an_error() -> None:
    content = tar(("manifest.json", b"1"), ("manifest.json", b"2"))
    assert "manifest.json appears twice" in error_message(content)


def test_the_error_for_a_sparse_file_has_its_name() -> None:
    entry = tarfile.TarInfo("hole")
    entry.type = tarfile.GNUTYPE_SPARSE
    assert "'hole' is a sparse file, which is not supported" in error_message(tar(entry))
    records = [("GNU.sparse.major", "1")]
    pax = tar(("hole", b"x"), format=tarfile.PAX_FORMAT, headers=records)
    assert "is a sparse file" in error_message(pax)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "the object is empty"),
        (b"short", "truncated after 5 bytes"),
        (bytes(1024), "a tar archive without files"),
        (b"PK\x03\x04" + bytes(600), "it looks like a zip archive"),
        (b'{"a": 1}' + b" " * 600, "it looks like a JSON document"),
        (b"<html>" + b" " * 600, "it looks like an HTML or XML document"),
        (b"\x00\x01" + b"x" * 600, "not a tar archive, it begins with 00 01 78"),
    ],
)
def test_the_error_for_another_format_names_the_format(content: bytes, found: str) -> None:
    assert found in error_message(content)


def test_an_archive_truncated_at_any_position_is_an_error() -> None:
    content = tar(("one", LARGE), ("wanted", LARGE))
    last = content.rindex(b"wanted")
    assert "truncated within 'one', after 100 of" in error_message(content[: 512 + 100])
    assert "truncated within 'wanted', after 0 of" in error_message(content[: last + 512])
    assert f"truncated after {last + 100} bytes" in error_message(content[: last + 100])


def test_an_archive_truncated_between_two_files_has_the_first() -> None:
    content = tar(("one", b"1"), ("two", b"2"))
    index = index_of(content[:1024])
    assert read(index, "one") == b"1"
    assert index.find("two") is None


@pytest.mark.parametrize(
    ("at", "value", "found"),
    [
        (1024, b"X", "invalid tar header"),
        (1024 + 148, b"zzzzzz", "invalid tar header"),
    ],
)
def test_a_corrupt_header_is_an_error(at: int, value: bytes, found: str) -> None:
    content = bytearray(tar(("one", b"1"), ("wanted", b"2")))
    content[at : at + len(value)] = value
    assert found in error_message(bytes(content))


@pytest.mark.parametrize(
    "records", [b"x", b"5 a=b", b"99 a=b\n", b"7 ab c\n", b"1 =\n", b"abc a=b\n", b"-5 a=b\n"]
)
def test_malformed_pax_records_are_rejected(records: bytes) -> None:
    with pytest.raises(InvalidArchiveError, match="invalid extended header"):
        parse_pax(records)


def test_a_document_that_is_too_large_is_not_read() -> None:
    index = index_of(b"")
    with pytest.raises(InvalidArchiveError, match="has 4194305 bytes, the maximum is 4194304"):
        index.read(Member("big", 4 * 1024 * 1024 + 1, 0, b""))


def test_the_number_of_files_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ecr_image_replicator.archive.tar_index._MAX_MEMBERS", 10)
    files = [(f"file-{number}", b"x") for number in range(11)]
    assert "more than 10 files found" in error_message(tar(*files))


def test_the_length_of_all_names_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ecr_image_replicator.archive.tar_index._MAX_NAMES_CHARACTERS", 1000)
    files = [(f"{number:0300}", b"x") for number in range(4)]
    assert "files have more than 1000 characters" in error_message(tar(*files))
    links = [link(str(number), "x" * 300) for number in range(4)]
    assert "files have more than 1000 characters" in error_message(tar(*links))


def test_only_the_used_records_of_pax_headers_are_kept() -> None:
    records = b"13 path=name\n" + b"18 comment=unused\n" + b"9 size=1\n"
    assert parse_pax(records) == {"path": "name", "size": "1"}


def test_files_that_exceed_the_cache_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ecr_image_replicator.archive.tar_index._MAX_KEPT_BYTES", 100)
    index = index_of(tar(("one", b"1" * 90), ("two", b"2" * 90), ("three", b"3" * 90)))
    assert read(index, "three") == b"3" * 90
    assert read(index, "two") == b"2" * 90


@settings(deadline=None)
@given(st.binary(max_size=3000))
def test_arbitrary_bytes_are_read_or_raise_invalid_archive_error(content: bytes) -> None:
    for candidate in (content, tar(("a", b"x"))[:512] + content):
        with contextlib.suppress(InvalidArchiveError):
            assert index_of(candidate).find("none") is None
