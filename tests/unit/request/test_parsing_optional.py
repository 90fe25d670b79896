"""Parsing of rarely used properties."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.request.test_parsing import NEEDED

from ecr_image_replicator.errors import RequestError
from ecr_image_replicator.model.conversion import ManifestFormat
from ecr_image_replicator.model.platforms import Platform
from ecr_image_replicator.request.parsing import KNOWN_PROPERTIES, Referrers, parse_request
from ecr_image_replicator.request.properties import property_name
from ecr_image_replicator.request.repository_settings import RepositorySettings
from ecr_image_replicator.request.roles import AssumedRole

ROLE = "arn:aws:iam::123456789012:role/reader"


def test_each_endpoint_has_its_role_and_external_id() -> None:
    request = parse_request(
        NEEDED | {"SrcRoleArn": ROLE, "SrcExternalId": "hunter2", "DestRoleArn": f"{ROLE}2"}
    )
    assert request.source_role == AssumedRole(ROLE, "hunter2")
    assert request.destination_role == AssumedRole(f"{ROLE}2")
    assert "hunter2" not in repr(request)


def test_arch_image_tags_are_a_map_or_its_json() -> None:
    tags = {"amd64": "v1-amd64", "linux/arm64/v8": "v1-arm64"}
    for value in (tags, json.dumps(tags)):
        assert parse_request(NEEDED | {"ArchImageTags": value}).arch_tags == {
            Platform("linux", "amd64"): "v1-amd64",
            Platform("linux", "arm64"): "v1-arm64",
        }


@pytest.mark.parametrize("value", ["", "  ", None])
@pytest.mark.parametrize("name", sorted(KNOWN_PROPERTIES - NEEDED.keys()))
def test_an_empty_property_is_a_missing_one(name: str, value: str | None) -> None:
    assert parse_request(NEEDED | {name: value}) == parse_request(NEEDED)


@pytest.mark.parametrize("value", ["", "  ", None])
@pytest.mark.parametrize("name", ["numAttempts", "baseDelay", "maxDelay"])
def test_an_empty_retry_setting_is_a_missing_one(name: str, value: str | None) -> None:
    assert parse_request(NEEDED | {"RetryConfigs": {name: value}}) == parse_request(NEEDED)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("docker", ManifestFormat.DOCKER),
        ("OCI", ManifestFormat.OCI),
        ("", None),
        (None, None),
    ],
)
def test_the_format_is_optional(value: object, expected: ManifestFormat | None) -> None:
    assert parse_request(NEEDED | {"Format": value}).format is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("required", Referrers.REQUIRED),
        ("true", Referrers.COPIED),
        (True, Referrers.COPIED),
        (False, Referrers.IGNORED),
        ("", Referrers.IGNORED),
    ],
)
def test_referrers_are_copied_when_requested(value: object, expected: Referrers) -> None:
    assert parse_request(NEEDED | {"CopyReferrers": value}).referrers is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("false", None),
        (False, None),
        ("", None),
        (None, None),
        ("true", RepositorySettings()),
        (True, RepositorySettings()),
        ({"ScanOnPush": "true"}, RepositorySettings(scan_on_push=True)),
        ('{"ImageTagMutability": "immutable"}', RepositorySettings("IMMUTABLE")),
        ({"KmsKey": "alias/a"}, RepositorySettings(encryption_type="KMS", kms_key="alias/a")),
        ({"Tags": {"a": 1}}, RepositorySettings(tags={"a": "1"})),
        ({"Tags": [{"Key": "a", "Value": "b"}]}, RepositorySettings(tags={"a": "b"})),
        ({"LifecyclePolicy": {"rules": []}}, RepositorySettings(lifecycle_policy='{"rules": []}')),
    ],
)
def test_create_repository_is_parsed_into_settings(
    value: object, expected: RepositorySettings | None
) -> None:
    assert parse_request(NEEDED | {"CreateRepository": value}).new_repository == expected


@pytest.mark.parametrize(
    ("properties", "named"),
    [
        ({"SrcRoleArn": ROLE, "SrcExternalId": "x"}, "invalid SrcExternalId: STS accepts"),
        ({"SrcRoleArn": "reader"}, "invalid SrcRoleArn: 'reader' is not the ARN of a role"),
        ({"SrcRoleArn": f"{ROLE}\ud800"}, "is not the ARN of a role"),
        ({"SrcExternalId": "abc"}, "SrcRoleArn is required with SrcExternalId"),
        ({"ArchImageTags": {"amd64": "a b"}}, "invalid ArchImageTags: 'a b' is not a tag"),
        ({"ArchImageTags": {"amd64": 1}}, "invalid ArchImageTags: 1 is not a tag"),
        ({"CopyReferrers": "some"}, "invalid CopyReferrers: 'some' is not one of"),
        ({"Format": "v2s1"}, "invalid Format: 'v2s1' is not one of docker, oci"),
        ({"Compression": "lzma"}, "invalid Compression: 'lzma' is not one of gzip, zstd, none"),
        ({"DryRun": "perhaps"}, "invalid DryRun: 'perhaps' is not a boolean"),
        (
            {"CreateRepository": "maybe"},
            "invalid CreateRepository: 'maybe' is neither a map nor JSON",
        ),
        ({"CreateRepository": {"Scan": True}}, "invalid CreateRepository: unknown key 'Scan'"),
        (
            {"CreateRepository": {"KmsKey": "k", "EncryptionType": "AES256"}},
            "invalid CreateRepository.KmsKey: it cannot be combined with EncryptionType AES256",
        ),
        ({"CreateRepository": {"Tags": [{"Key": "a"}]}}, "is not a list of Key and Value"),
    ],
)
def test_an_invalid_property_is_rejected_by_name(properties: dict[str, Any], named: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_request(NEEDED | properties)
    assert named in caught.value.render(property_name)


_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
_VALUES = st.recursive(
    _SCALARS | st.sampled_from(["true", "required", "gzip", ROLE, '{"Tags": []}']),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["Tags", "KmsKey", "ScanOnPush", "LifecyclePolicy", "Key", "Value"])
            | st.text(max_size=5),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(KNOWN_PROPERTIES[2:]), _VALUES, max_size=3))
def test_arbitrary_optional_properties_are_a_request_or_rejected(
    properties: dict[str, Any],
) -> None:
    try:
        request = parse_request(NEEDED | properties)
    except RequestError:
        return
    assert request.destination.tag == "v1"
