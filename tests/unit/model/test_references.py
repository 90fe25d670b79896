from __future__ import annotations

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ecr_image_replicator.errors import InvalidReferenceError
from ecr_image_replicator.model.digests import Digest
from ecr_image_replicator.model.references import (
    ImageReference,
    is_loopback,
    is_tag,
    parse_image_reference,
    split_host,
)

HEX = "0123456789abcdef" * 4
DIGEST = Digest("sha256", HEX)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nginx", ImageReference("docker.io", "library/nginx", "latest")),
        ("nginx:1.27", ImageReference("docker.io", "library/nginx", "1.27")),
        ("docker://nginx:1.27", ImageReference("docker.io", "library/nginx", "1.27")),
        ("DOCKER://nginx", ImageReference("docker.io", "library/nginx", "latest")),
        ("bitnami/redis", ImageReference("docker.io", "bitnami/redis", "latest")),
        ("docker.io/nginx", ImageReference("docker.io", "library/nginx", "latest")),
        ("index.docker.io/a/b:1", ImageReference("docker.io", "a/b", "1")),
        ("registry-1.docker.io/a/b:1", ImageReference("docker.io", "a/b", "1")),
        ("quay.io/nginx", ImageReference("quay.io", "nginx", "latest")),
        ("Quay.IO/a/b:T", ImageReference("quay.io", "a/b", "T")),
        ("localhost/a", ImageReference("localhost", "a", "latest")),
        ("LOCALHOST/a", ImageReference("localhost", "a", "latest")),
        ("localhost:5000/a/b:1", ImageReference("localhost:5000", "a/b", "1")),
        ("host:5000/a", ImageReference("host:5000", "a", "latest")),
        ("[::1]:5000/a:1", ImageReference("[::1]:5000", "a", "1")),
        ("[::1]/a", ImageReference("[::1]", "a", "latest")),
        (f"quay.io/a@{DIGEST}", ImageReference("quay.io", "a", "", DIGEST)),
        ("quay.io/a__b/c--d/e.f_g:1", ImageReference("quay.io", "a__b/c--d/e.f_g", "1")),
        (
            "1.dkr.ecr.eu-west-1.amazonaws.com/team/app:v1",
            ImageReference("1.dkr.ecr.eu-west-1.amazonaws.com", "team/app", "v1"),
        ),
    ],
)
def test_references_in_dockers_notation_are_parsed(text: str, expected: ImageReference) -> None:
    assert parse_image_reference(text) == expected


def test_a_reference_can_have_a_tag_and_a_digest() -> None:
    reference = parse_image_reference(f"docker://quay.io/a:1@{DIGEST}")
    assert (reference.tag, reference.digest) == ("1", DIGEST)
    assert str(reference) == f"quay.io/a:1@{DIGEST}"


@pytest.mark.parametrize("scheme", ["docker://", "oci://", "OCI://", ""])
def test_a_scheme_is_ignored(scheme: str) -> None:
    assert str(parse_image_reference(f"{scheme}quay.io/charts/app:1.0")) == "quay.io/charts/app:1.0"


@pytest.mark.parametrize(
    ("selector", "name"),
    [
        ("1.0", "ghcr.io/acme/app:1.0"),
        (f"sha256:{'0' * 64}", f"ghcr.io/acme/app@sha256:{'0' * 64}"),
    ],
)
def test_a_manifest_is_named_by_its_tag_or_digest(selector: str, name: str) -> None:
    assert parse_image_reference("ghcr.io/acme/app:2").manifest_name(selector) == name


@pytest.mark.parametrize(
    ("text", "selector"),
    [("quay.io/a:1", "1"), (f"quay.io/a@{DIGEST}", str(DIGEST)), (f"a:1@{DIGEST}", str(DIGEST))],
)
def test_a_digest_has_precedence_over_a_tag_in_requests(text: str, selector: str) -> None:
    assert parse_image_reference(text).selector == selector


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "no repository"),
        ("quay.io/", "no repository"),
        ("quay.io/:1", "no repository"),
        ("quay.io/a:", "'' is not a tag"),
        ("quay.io/a:-x", "'-x' is not a tag"),
        ("quay.io/a:" + "t" * 129, "'ttt"),
        ("quay.io/a:1:2", "'1:2' is not a tag"),
        ("quay.io/a:1\n", "is not a tag"),
        ("quay.io/a//b", "''"),
        ("quay.io/a_-b", "'a_-b'"),
        ("quay.io/a___b", "'a___b'"),
        ("quay.io/App", "Use lowercase letters"),
        ("App/web", "Use lowercase letters"),
        ("quay.io/" + "a" * 256, "longer than 255"),
        ("host:0/a", "port 0"),
        ("host:65536/a", "port 65536"),
        ("host:port/a", "'host:port'"),
        ("[::g]/a", "'[::g]'"),
        ("[1:2]/a", "not an IPv6 address"),
        ("-x.io/a", "'-x.io'"),
        ("a" * 250 + ".com/a", "is not host or host:port"),
        ("quay.io/a@sha256:12", "invalid digest"),
        (f"quay.io/a@sha256:{HEX.upper()}", "invalid digest"),
        (f"quay.io/a@md5:{HEX}", "invalid digest"),
        ("https://quay.io/a", "unknown scheme https://"),
    ],
)
def test_a_malformed_reference_is_rejected_with_the_invalid_part(text: str, named: str) -> None:
    with pytest.raises(InvalidReferenceError) as caught:
        parse_image_reference(text)
    assert named in str(caught.value)
    assert str(caught.value).startswith("invalid image reference ")


@pytest.mark.parametrize(
    "text",
    [
        "docker://user:hunter2@quay.io/a:1",
        "user:hunter2@quay.io/a:1",
        "https://user:hunter2@quay.io/a:1",
        "docker://user:hunter2/x@quay.io/a:1",
        f"docker://user:hunter2{'x' * 400}@quay.io/a:1",
        "https://bucket.s3.amazonaws.com/app.tar?X-Amz-Signature=hunter2",
        "bucket.s3.amazonaws.com/app.tar?X-Amz-Signature=hunter2",
        "bucket.s3.amazonaws.com/app:1?Signature=hunter2",
        "bucket.s3.amazonaws.com?Signature=hunter2/app",
        "quay.io/a@sha256:0?Signature=hunter2",
    ],
)
def test_the_message_does_not_quote_a_password_or_signature_in_a_reference(text: str) -> None:
    with pytest.raises(InvalidReferenceError) as caught:
        parse_image_reference(text)
    assert "hunter2" not in str(caught.value)


def test_the_message_for_a_long_reference_is_cut() -> None:
    with pytest.raises(InvalidReferenceError) as caught:
        parse_image_reference("!" * 100_000)
    assert len(str(caught.value)) < 1000


# valid characters of references, and common mistakes
_TEXTS = st.one_of(
    st.text(),
    st.text(alphabet=string.ascii_letters + string.digits + ".-_:/@[]%\n ", max_size=80),
    st.builds(
        "".join,
        st.lists(
            st.sampled_from(
                [
                    "docker://",
                    "oci://",
                    "s3://",
                    "A",
                    "a",
                    "localhost",
                    "quay.io",
                    "docker.io",
                    "library",
                    "/",
                    "/",
                    ":",
                    "@",
                    "[::1]",
                    "[",
                    "]",
                    "5000",
                    "0",
                    "-",
                    "_",
                    "__",
                    str(DIGEST),
                ]
            ),
            max_size=12,
        ),
    ),
)


@given(_TEXTS)
@example("App/web")
@example("docker.io:443/a")
def test_arbitrary_text_is_a_reference_that_round_trips_or_rejected(text: str) -> None:
    try:
        reference = parse_image_reference(text)
    except InvalidReferenceError:
        return
    assert parse_image_reference(str(reference)) == reference
    assert reference.tag or reference.digest
    assert reference.registry == reference.registry.lower()


_HOSTS = st.from_regex(
    r"[a-z0-9]{1,9}(-[a-z0-9]{1,5})?\.[a-z]{2,5}(:[1-9][0-9]{0,3})?", fullmatch=True
)
_REPOSITORIES = st.from_regex(
    r"[a-z0-9]{1,5}((\.|_|__|-{1,3})[a-z0-9]{1,4})?(/[a-z0-9]{1,5}){0,3}", fullmatch=True
)
_TAGS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", fullmatch=True)


@given(_HOSTS, _REPOSITORIES, _TAGS, st.booleans())
def test_a_valid_reference_round_trips(
    host: str, repository: str, tag: str, has_digest: bool
) -> None:
    reference = ImageReference(host, repository, tag, DIGEST if has_digest else None)
    assert parse_image_reference(str(reference)) == reference
    assert parse_image_reference(f"docker://{reference}") == reference


@given(_TAGS)
def test_valid_tags_of_the_specification_are_accepted(tag: str) -> None:
    assert is_tag(tag)


@pytest.mark.parametrize("text", ["", ".a", "-a", "a b", "a\n", "ä", "a" * 129, "a/b", "a:b"])
def test_invalid_tags_are_rejected(text: str) -> None:
    assert not is_tag(text)


@pytest.mark.parametrize(
    ("registry", "parts"),
    [
        ("quay.io", ("quay.io", None)),
        ("quay.io:443", ("quay.io", 443)),
        ("[::1]:5000", ("::1", 5000)),
        ("[::1]", ("::1", None)),
    ],
)
def test_a_registry_is_split_into_host_and_optional_port(
    registry: str, parts: tuple[str, int | None]
) -> None:
    assert split_host(registry) == parts


@pytest.mark.parametrize(
    ("registry", "expected"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("a.localhost:1", True),
        ("127.0.0.1:5000", True),
        ("127.9.9.9", True),
        ("[::1]:5000", True),
        ("localhost.example.com", False),
        ("10.0.0.1", False),
        ("notlocalhost", False),
        ("127.0.0.1.example.com", False),
    ],
)
def test_loopback_hosts_are_recognized(registry: str, expected: bool) -> None:
    assert is_loopback(registry) is expected
