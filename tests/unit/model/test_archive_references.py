from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecr_image_replicator.errors import InvalidReferenceError, RequestError
from ecr_image_replicator.model.archive_references import (
    ARCHIVE_SUFFIXES,
    ArchiveReference,
    is_archive_reference,
    is_local_archive,
    parse_archive_reference,
    parse_local_archive,
)
from ecr_image_replicator.model.references import ImageReference
from ecr_image_replicator.request.parsing import parse_request


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://bucket/key", ArchiveReference("bucket", "key")),
        ("S3://bucket/a/b/app.tar", ArchiveReference("bucket", "a/b/app.tar")),
        ("s3://b-1.x/app.tar:app:1", ArchiveReference("b-1.x", "app.tar", selector="app:1")),
        ("s3://bucket/key:app:1", ArchiveReference("bucket", "key", selector="app:1")),
        ("s3://bucket/app.tar:v1", ArchiveReference("bucket", "app.tar", selector="v1")),
        (
            "s3://bucket/app.tgz:localhost:5000/team/app:1",
            ArchiveReference("bucket", "app.tgz", selector="localhost:5000/team/app:1"),
        ),
        ("s3://bucket/app.tar:@0", ArchiveReference("bucket", "app.tar", selector=0)),
        ("s3://bucket/key:@12", ArchiveReference("bucket", "key", selector=12)),
        ("s3://bucket/12:30.tar", ArchiveReference("bucket", "12:30.tar")),
        ("s3://bucket/12:30.TAR.GZ", ArchiveReference("bucket", "12:30.TAR.GZ")),
        ("s3://bucket/12:30.tar:app:1", ArchiveReference("bucket", "12:30.tar", "", "app:1")),
        ("s3://bucket/12:30.tar.zst:@1", ArchiveReference("bucket", "12:30.tar.zst", "", 1)),
        ("s3://bucket/a b+c=é.tar", ArchiveReference("bucket", "a b+c=é.tar")),
        ("s3://bucket/what?.tar", ArchiveReference("bucket", "what?.tar")),
        ("s3://bucket/app.tar?versionId=A.b_c", ArchiveReference("bucket", "app.tar", "A.b_c")),
        (
            "s3://bucket/app.tar?versionId=abc:app:1",
            ArchiveReference("bucket", "app.tar", "abc", "app:1"),
        ),
        (
            "s3://bucket/app.tar:app:1?versionId=abc",
            ArchiveReference("bucket", "app.tar", "abc", "app:1"),
        ),
        ("s3://bucket/key?versionId=abc:@3", ArchiveReference("bucket", "key", "abc", 3)),
    ],
)
def test_an_archive_reference_has_bucket_key_version_and_image(
    text: str, expected: ArchiveReference
) -> None:
    reference = parse_archive_reference(text)
    assert reference == expected
    assert parse_archive_reference(str(reference)) == expected


@pytest.mark.parametrize("suffix", ARCHIVE_SUFFIXES)
def test_a_key_with_colons_ends_at_a_known_suffix(suffix: str) -> None:
    assert parse_archive_reference(f"s3://bucket/a:b{suffix}").selector is None
    named = parse_archive_reference(f"s3://bucket/a:b{suffix}:app:1")
    assert (named.key, named.selector) == (f"a:b{suffix}", "app:1")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("https://bucket/key", "it does not begin with s3://"),
        ("s3://", "'' is not a bucket name"),
        ("s3:///key", "'' is not a bucket name"),
        ("s3://bu cket/key", "'bu cket' is not a bucket name"),
        ("s3://bucket", "the key is empty"),
        ("s3://bucket/", "the key is empty"),
        ("s3://bucket/:app:1", "the key is empty"),
        ("s3://bucket/" + "k" * 1025, "longer than 1024 bytes"),
        ("s3://bucket/" + "é" * 513, "longer than 1024 bytes"),
        ("s3://bucket/key:", "'' is neither repository:tag nor @N"),
        ("s3://bucket/key: x", "' x' is neither repository:tag"),
        ("s3://bucket/key:@x", "'@x' is neither repository:tag nor @N; a name with colons"),
        ("s3://bucket/key:@1234567", "the position @1234567 is too large"),
        ("s3://bucket/key?versionId=", "versionId needs one value"),
        ("s3://bucket/key?versionId=a?versionId=b", "versionId needs one value"),
    ],
)
def test_an_invalid_archive_reference_is_rejected_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidReferenceError) as caught:
        parse_archive_reference(text)
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 700


def test_only_the_s3_scheme_denotes_an_archive() -> None:
    named = {"DestImage": "example.com/app:1"}
    archive = parse_request({"SrcImage": "s3://bucket/key", **named}).source
    assert isinstance(archive, ArchiveReference)
    image = parse_request({"SrcImage": "s3.example.com/bucket/key", **named}).source
    assert isinstance(image, ImageReference)
    with pytest.raises(RequestError, match="archive reference 's3://'"):
        parse_request({"SrcImage": "s3://", **named})


@given(st.text(max_size=60))
def test_arbitrary_text_is_an_archive_reference_or_rejected(text: str) -> None:
    assert is_archive_reference(f"s3://{text}")
    try:
        reference = parse_archive_reference(f"s3://bucket/{text}")
    except InvalidReferenceError:
        return
    assert reference.key


@pytest.mark.parametrize(
    ("text", "path", "selector"),
    [
        ("docker-archive:app.tar", "app.tar", None),
        ("docker-archive:app.tar:team/app:1", "app.tar", "team/app:1"),
        ("docker-archive:app.tar:@1", "app.tar", 1),
        ("docker-archive:app", "app", None),
        ("docker-archive:///out/app.tar:app:1", "///out/app.tar", "app:1"),
        ("oci-archive:/out/app.oci:1.0", "/out/app.oci", "1.0"),
        ("app.tar", "app.tar", None),
        ("out/app.tar.gz:app:1", "out/app.tar.gz", "app:1"),
        ("./app", "./app", None),
        ("../a:b.tar", "../a:b.tar", None),
        ("/out/app:app:1", "/out/app", "app:1"),
    ],
)
def test_a_local_archive_reference_has_path_and_image(
    text: str, path: str, selector: str | int | None
) -> None:
    assert is_local_archive(text)
    reference = parse_local_archive(text)
    assert (reference.path, reference.selector) == (path, selector)
    assert reference.location == path


@pytest.mark.parametrize(
    "text", ["nginx:1.27", "quay.io/team/app:1", "docker://quay.io/app.tar", "s3://b/app.tar"]
)
def test_image_and_s3_references_are_not_local_archives(text: str) -> None:
    assert not is_local_archive(text)


@pytest.mark.parametrize("text", ["docker-archive:", "oci-archive::app:1", "./a\0.tar"])
def test_a_local_archive_without_a_path_is_invalid(text: str) -> None:
    with pytest.raises(InvalidReferenceError, match="the path is empty"):
        parse_local_archive(text)


@pytest.mark.parametrize("text", ["docker-archive:app.tar:", "app.tar:@", "./app:@-1"])
def test_an_invalid_local_archive_reference_has_a_hint_about_files(text: str) -> None:
    with pytest.raises(InvalidReferenceError) as caught:
        parse_local_archive(text)
    hint = "Use docker-archive:FILE, FILE:repository:tag or FILE:@N."
    assert str(caught.value).endswith(hint)


@pytest.mark.parametrize("source", ["docker-archive:app.tar", "/etc/app.tar", "./app.tar"])
def test_only_the_command_line_accepts_local_archives(source: str) -> None:
    named = {"SrcImage": source, "DestImage": "example.com/app:1"}
    with pytest.raises(RequestError, match="invalid"):
        parse_request(named)
    local = parse_request(named, accepts_local_archives=True).source
    assert isinstance(local, ArchiveReference)
    assert local.path
