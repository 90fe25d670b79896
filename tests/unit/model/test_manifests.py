from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.unit.builders import (
    digest_of,
    encoded,
    entry,
    image,
    index,
    index_document,
    manifest_document,
)

from ecr_image_replicator.errors import InvalidManifestError
from ecr_image_replicator.model.digests import Digest
from ecr_image_replicator.model.manifests import (
    DOCKER_CONFIG,
    DOCKER_MANIFEST,
    DOCKER_MANIFEST_LIST,
    MAX_MANIFEST_BYTES,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_MANIFEST,
    ImageIndex,
    ImageManifest,
    Manifest,
    parse_config_platform,
    parse_json_object,
    parse_manifest,
)
from ecr_image_replicator.model.platforms import Platform

FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"


def test_the_bytes_of_a_manifest_are_unchanged() -> None:
    content = json.dumps(manifest_document(), indent=3, ensure_ascii=False).encode() + b"\n"
    manifest = parse_manifest(content)
    assert manifest.content == content
    assert manifest.digest == Digest.of(content)


def test_an_image_has_a_config_and_layers() -> None:
    manifest = image([b"one", b"three"], config=b"{}", annotations={"a": "b", "n": 1})
    assert manifest.media_type == OCI_MANIFEST
    assert manifest.is_container_image
    assert [each.digest for each in manifest.blobs] == [
        digest_of(b"{}"),
        digest_of(b"one"),
        digest_of(b"three"),
    ]
    assert [each.size_bytes for each in manifest.blobs] == [2, 3, 5]
    assert manifest.annotations == {"a": "b"}


def test_foreign_layers_are_not_copied() -> None:
    document = manifest_document([b"ours"])
    document["layers"].append(entry(b"theirs", FOREIGN))
    manifest = parse_manifest(encoded(document))
    assert isinstance(manifest, ImageManifest)
    assert len(manifest.layers) == 2
    assert digest_of(b"theirs") not in {each.digest for each in manifest.blobs}


def test_an_artifact_is_not_a_container_image() -> None:
    document = manifest_document()
    document["config"] = entry(b"{}", "application/vnd.oci.empty.v1+json")
    document |= {"artifactType": "application/sbom", "subject": entry(b"x", OCI_MANIFEST)}
    manifest = parse_manifest(encoded(document))
    assert isinstance(manifest, ImageManifest)
    assert not manifest.is_container_image
    assert manifest.artifact_type == "application/sbom"
    assert manifest.subject is not None
    assert manifest.subject.digest == digest_of(b"x")


def test_an_artifact_can_have_null_layers() -> None:
    manifest = parse_manifest(encoded(manifest_document() | {"layers": None}))
    assert isinstance(manifest, ImageManifest)
    assert manifest.layers == ()


def test_an_index_lists_its_children_with_their_platforms() -> None:
    first, second, attestation = image([b"1"]), image([b"2"]), image([b"3"])
    parsed = index(
        [first, second, attestation],
        {first.digest: "linux/amd64", second.digest: "linux/arm64/v8"},
    )
    assert [each.digest for each in parsed.manifests] == [
        first.digest,
        second.digest,
        attestation.digest,
    ]
    assert [each.platform for each in parsed.manifests] == [
        Platform("linux", "amd64"),
        Platform("linux", "arm64"),
        None,
    ]


def test_a_platform_has_its_version_and_features_if_they_are_strings() -> None:
    document = index_document([image()])
    document["manifests"][0]["platform"] = {
        "os": "windows",
        "architecture": "amd64",
        "os.version": "10.0",
        "os.features": ["win32k", 7, [[]]],
    }
    parsed = parse_manifest(encoded(document))
    assert isinstance(parsed, ImageIndex)
    assert parsed.manifests[0].platform == Platform("windows", "amd64", "", "10.0", ("win32k",))


@pytest.mark.parametrize(
    ("declared", "content_type", "expected"),
    [
        (DOCKER_MANIFEST, "", DOCKER_MANIFEST),
        (OCI_MANIFEST, DOCKER_MANIFEST, OCI_MANIFEST),
        (None, DOCKER_MANIFEST, DOCKER_MANIFEST),
        (None, f"{OCI_MANIFEST}; charset=utf-8", OCI_MANIFEST),
        (None, OCI_MANIFEST.upper(), OCI_MANIFEST),
        (None, "application/json", OCI_MANIFEST),
        (None, "", OCI_MANIFEST),
    ],
)
def test_the_media_type_of_the_body_has_precedence_over_the_header(
    declared: str | None, content_type: str, expected: str
) -> None:
    document = manifest_document() | {"mediaType": declared}
    if declared is None:
        del document["mediaType"]
    assert parse_manifest(encoded(document), content_type).media_type == expected


def test_the_type_of_a_manifest_without_media_type_is_detected() -> None:
    document = manifest_document()
    del document["mediaType"]
    document["config"]["mediaType"] = DOCKER_CONFIG
    assert parse_manifest(encoded(document)).media_type == DOCKER_MANIFEST
    children = index_document([image()])
    del children["mediaType"]
    assert parse_manifest(encoded(children)).media_type == OCI_INDEX


def test_dockers_manifest_list_is_an_index() -> None:
    parsed = parse_manifest(encoded(index_document([image()], mediaType=DOCKER_MANIFEST_LIST)))
    assert isinstance(parsed, ImageIndex)


def _changed(**changes: Any) -> dict[str, Any]:
    return manifest_document() | changes


def _with_layer(**changes: Any) -> dict[str, Any]:
    return manifest_document() | {"layers": [entry(b"layer") | changes]}


@pytest.mark.parametrize(
    ("data", "embedded"),
    [("e30=", b"{}"), ("e30", None), ("W10=", None), ("not base64!", None), (7, None)],
)
def test_embedded_data_is_used_if_it_matches_the_digest(
    data: object, embedded: bytes | None
) -> None:
    document = manifest_document()
    document["config"]["data"] = data
    manifest = parse_manifest(encoded(document))
    assert isinstance(manifest, ImageManifest)
    assert manifest.config.data == embedded


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ([], "the manifest is invalid: not a JSON object"),
        ("text", "the manifest is invalid: not a JSON object"),
        (_changed(config=None), "config is not a descriptor"),
        (_changed(config=[]), "config is not a descriptor"),
        (_changed(layers={}), "layers is not a list"),
        (_changed(layers=[None]), r"layers\[0\] is not a descriptor"),
        (_changed(subject=7), "subject is not a descriptor"),
        (
            _changed(mediaType="application/unheard-of"),
            "unknown media type 'application/un",
        ),
        (_changed(mediaType=[OCI_MANIFEST]), "media type is not a string"),
        (_changed(mediaType={"a": 1}), "media type is not a string"),
        (_changed(manifests=[]), "an image and an index at once"),
        (_changed(mediaType=OCI_INDEX), "the index has no manifests"),
        (_with_layer(size=-1), r"layers\[0\] has an invalid size"),
        (_with_layer(size=2**63), "an invalid size"),
        (_with_layer(size="5"), "an invalid size"),
        (_with_layer(size=True), "an invalid size"),
        (_with_layer(size=1.5), "an invalid size"),
        (_with_layer(size=None), "an invalid size"),
        (_with_layer(digest="sha256:12"), "invalid digest"),
        (_with_layer(digest=None), "invalid digest"),
        (_with_layer(mediaType=""), "no media type"),
        (_with_layer(mediaType=3), "no media type"),
        ({"schemaVersion": 1, "fsLayers": []}, "schema 1"),
        (
            {"mediaType": "application/vnd.docker.distribution.manifest.v1+prettyjws"},
            "schema 1",
        ),
        ({}, "unknown media type"),
        ({"mediaType": OCI_INDEX, "manifests": [{}]}, r"manifests\[0\]"),
    ],
)
def test_an_invalid_manifest_is_rejected_with_the_reason(document: object, named: str) -> None:
    with pytest.raises(InvalidManifestError, match=named):
        parse_manifest(encoded(document))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"a": NaN}',
        b'{"a": 1, "a": 1}',
        b'{"a": {"b": 1, "b": 2}}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"\xef\xbb\xbf{}",
    ],
)
def test_ambiguous_json_is_rejected(content: bytes) -> None:
    with pytest.raises(InvalidManifestError, match="the response is invalid: not valid JSON"):
        parse_json_object(content, "the response")


def test_a_manifest_above_4_mib_is_rejected() -> None:
    at_most = b"{" + b" " * (MAX_MANIFEST_BYTES - 2) + b"}"
    assert parse_json_object(at_most, "it") == {}
    with pytest.raises(InvalidManifestError, match="larger than 4194304 bytes"):
        parse_json_object(at_most + b" ", "it")


@pytest.mark.parametrize(
    ("config", "platform"),
    [
        ({"os": "linux", "architecture": "arm64", "variant": "v8"}, Platform("linux", "arm64")),
        ({"os": "linux", "architecture": "arm"}, Platform("linux", "arm", "v7")),
        ({"os": "", "architecture": ""}, None),
        ({"os": 7, "architecture": None}, None),
        ({}, None),
    ],
)
def test_the_platform_is_parsed_from_a_config(
    config: dict[str, Any], platform: Platform | None
) -> None:
    assert parse_config_platform(encoded(config)) == platform


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)
_KEYS = st.sampled_from(
    [
        "schemaVersion",
        "mediaType",
        "config",
        "layers",
        "manifests",
        "subject",
        "artifactType",
        "annotations",
        "digest",
        "size",
        "platform",
        "os",
        "architecture",
        "os.features",
    ]
)
_CONTENT_TYPES = st.sampled_from(["", OCI_MANIFEST, OCI_INDEX, "text/html", ";", "\x00"])
_VALID = (
    manifest_document([b"a", b"b"], annotations={"k": "v"}, subject=entry(b"s", OCI_MANIFEST)),
    index_document([image()], {image().digest: "linux/arm/v7"}),
    manifest_document() | {"config": entry(b"{}", OCI_CONFIG, platform={"os": "linux"})},
)


def _manifest_or_none(content: bytes, content_type: str) -> Manifest | None:
    try:
        manifest = parse_manifest(content, content_type)
    except InvalidManifestError as error:
        assert len(str(error)) < 1000  # noqa: PT017 - a manifest is valid too
        return None
    assert manifest.content == content
    return manifest


@given(st.binary(), _CONTENT_TYPES)
@example(b"[" * 10_000, "")
def test_arbitrary_bytes_are_a_manifest_or_rejected(content: bytes, content_type: str) -> None:
    _manifest_or_none(content, content_type)


@given(st.dictionaries(_KEYS, _JSON) | _JSON, _CONTENT_TYPES)
def test_arbitrary_json_is_a_manifest_or_rejected(document: object, content_type: str) -> None:
    _manifest_or_none(encoded(document), content_type)


def _paths(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    items: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        items = list(value.items())
    if isinstance(value, list):
        items = list(enumerate(value))
    return [(*path, key) for key, _ in items] + [
        below for key, each in items for below in _paths(each, (*path, key))
    ]


@given(st.data())
def test_a_valid_manifest_with_one_change_is_a_manifest_or_rejected(data: st.DataObject) -> None:
    document = copy.deepcopy(data.draw(st.sampled_from(_VALID)))
    *above, last = data.draw(st.sampled_from(_paths(document)))
    place: Any = document
    for key in above:
        place = place[key]
    if data.draw(st.booleans()):
        del place[last]
    else:
        place[last] = data.draw(_JSON)
    manifest = _manifest_or_none(encoded(document), data.draw(_CONTENT_TYPES))
    if manifest is not None:
        again = parse_manifest(manifest.content, manifest.media_type)
        assert again == manifest
