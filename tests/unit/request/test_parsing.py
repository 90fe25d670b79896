from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.builders import encoded

from ecr_image_replicator.errors import RequestError, Setting
from ecr_image_replicator.model.platforms import Platform
from ecr_image_replicator.request.credentials import (
    InlineCredentials,
    NoCredentials,
    parse_inline_credentials,
)
from ecr_image_replicator.request.logins import Login
from ecr_image_replicator.request.parsing import KNOWN_PROPERTIES, parse_request
from ecr_image_replicator.request.properties import PROPERTY_NAMES, property_name
from ecr_image_replicator.retries import RetryPolicy

NEEDED = {"SrcImage": "nginx:1.27", "DestImage": "quay.io/team/app:v1"}
LINUX_ARM64 = Platform("linux", "arm64")


def _properties(**more: Any) -> dict[str, Any]:
    return NEEDED | more


def test_source_and_destination_are_the_only_required_properties() -> None:
    request = parse_request(NEEDED)
    assert str(request.source) == "docker.io/library/nginx:1.27"
    assert str(request.destination) == "quay.io/team/app:v1"
    assert request.all_tags == ("v1",)
    assert request.platforms == ()
    assert not request.copies_index
    assert request.retry_policy == RetryPolicy(5, 1.0, 30.0)
    assert request.source_credentials is request.destination_credentials is None


@pytest.mark.parametrize("name", ["ServiceToken", "ServiceTimeout", "Trigger"])
def test_properties_of_cloudformation_are_ignored(name: str) -> None:
    assert parse_request(_properties(**{name: {"any": ["thing"]}})) == parse_request(NEEDED)


@pytest.mark.parametrize(
    ("properties", "named"),
    [
        ({}, "DestImage is required"),
        ({"DestImage": "a/b:1"}, "SrcImage is required"),
        ({"SrcImage": "a:1"}, "DestImage is required"),
        (_properties(SrcImage="  "), "SrcImage is required"),
        (_properties(SrcImage=["a"]), "invalid SrcImage: ['a'] is not a string"),
        (_properties(SrcImage="A B"), "SrcImage: invalid image reference 'A B'"),
        (_properties(DestImage=f"a/b@sha256:{'0' * 64}"), "has a digest"),
        (
            _properties(DestImage="app:1.0"),
            "invalid DestImage: 'app:1.0' is not host/",
        ),
        (_properties(DestImage="docker://app:1.0"), "is not host/repository:tag"),
        (_properties(DestImage="localhost:5002"), "is not host/repository:tag"),
        (_properties(SrcImg="a"), "unknown property 'SrcImg'. Did you mean 'SrcImage'?"),
        (_properties(destimage="a"), "Did you mean 'DestImage'?"),
        (_properties(SRC_IMAGE="a"), "Did you mean 'SrcImage'?"),
        (_properties(DRYRUN="true"), "Did you mean 'DryRun'?"),
        (_properties(Triggers="1"), "Did you mean 'Trigger'?"),
        (_properties(serviceTimeout="60"), "Did you mean 'ServiceTimeout'?"),
        (_properties(**{"!": 1}), "unknown property '!'. Use one of SrcImage, DestImage"),
        (_properties(DestTags="a,b c"), "invalid DestTags: 'b c' is not a tag"),
        (_properties(DestTags=[1]), "invalid DestTags: [1] is not a list of strings"),
        (_properties(DestTags={"a": "b"}), "is not a list of strings"),
        (_properties(DestTags=[f"t{n}" for n in range(101)]), "101 tags, at most 100"),
        (_properties(SrcCreds=["user:hunter2"]), "invalid SrcCreds: it is not a string"),
        (_properties(ImageArch=["amd64", "arm64"]), "invalid ImageArch: 2 architectures"),
        (_properties(ImageArch="a/b/c/d"), "ImageArch: invalid platform 'a/b/c/d'"),
        (
            _properties(ImageArch="amd64", Platforms="linux/arm64"),
            "invalid ImageArch: it cannot be combined with Platforms",
        ),
        (
            _properties(ImageArch="amd64", CopyImageIndex="true"),
            "invalid ImageArch: it cannot be combined with CopyImageIndex",
        ),
        (
            _properties(Platforms="linux/amd64", CopyImageIndex=True),
            "invalid Platforms: it cannot be combined with CopyImageIndex",
        ),
        (_properties(Platforms="all,linux/amd64"), "Use 'all' alone."),
        (_properties(ArchImageTags={"amd64": "v1"}), "the tag v1 is used twice"),
        (_properties(ArchImageTags={"amd64": "a"}, DestTags="a"), "the tag a is used twice"),
        (_properties(ArchImageTags={"amd64": "a", "arm64": "a"}), "the tag a is used twice"),
        (
            _properties(ArchImageTags={"amd64": "a", "x86_64": "b"}),
            "invalid ArchImageTags: 'x86_64' is linux/amd64, which has the tag a",
        ),
        (
            _properties(VerifySignatureKey="arn:aws:s3:::b/k"),
            "invalid VerifySignatureKey: 'arn:aws:s3:::b/k' is neither",
        ),
        (_properties(VerifySignatureKey="cosign.pub"), "Use a PEM public key"),
        (_properties(CopyImageIndex="yes"), "invalid CopyImageIndex: 'yes' is not a boolean"),
        (_properties(CopyImageIndex=1), "invalid CopyImageIndex: 1 is not a boolean"),
        (_properties(OnDelete="Destroy"), "invalid OnDelete: 'Destroy' is not one of Retain"),
        (_properties(RetryConfigs="{"), "invalid RetryConfigs: '{' is neither a map nor JSON"),
        (_properties(RetryConfigs=[]), "invalid RetryConfigs: [] is not a map"),
        (_properties(RetryConfigs={"attempts": 1}), "Use numAttempts, baseDelay, maxDelay."),
        (_properties(RetryConfigs={"numAttempts": 0}), "a whole number from 1 to 20"),
        (_properties(RetryConfigs={"numAttempts": 21}), "a whole number from 1 to 20"),
        (_properties(RetryConfigs={"numAttempts": 1.5}), "a whole number from 1 to 20"),
        (
            _properties(RetryConfigs={"numAttempts": True}),
            "invalid RetryConfigs.numAttempts: True is not a number",
        ),
        (_properties(RetryConfigs={"numAttempts": "NaN"}), "'NaN' is not a number"),
        (_properties(RetryConfigs={"numAttempts": 10**400}), "is not a number"),
        (_properties(RetryConfigs={"numAttempts": "few"}), "'few' is not a number"),
        (_properties(RetryConfigs={"baseDelay": -1}), "0 to 900"),
        (_properties(RetryConfigs={"maxDelay": 901}), "0 to 900"),
        (_properties(RetryConfigs={"baseDelay": 9, "maxDelay": 1}), "0 to 900"),
    ],
)
def test_an_invalid_property_is_rejected_by_name(properties: dict[str, Any], named: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_request(properties)
    assert named in caught.value.render(property_name)


def test_every_setting_has_a_property() -> None:
    assert {*PROPERTY_NAMES} == {*Setting}


@pytest.mark.parametrize(
    "key",
    [
        "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----",
        "arn:aws:kms:eu-west-1:123456789012:key/mrk-1234abcd",
        "arn:aws-us-gov:kms:us-gov-west-1:123456789012:alias/team/signing",
    ],
)
def test_a_signature_key_is_a_public_key_or_a_kms_key(key: str) -> None:
    assert parse_request(_properties(VerifySignatureKey=key)).signature_key == key


@pytest.mark.parametrize("wrap", [str, lambda key: [key], lambda key: {"Key": key}])
def test_the_message_does_not_quote_a_private_key(wrap: Callable[[str], Any]) -> None:
    with pytest.raises(RequestError) as caught:
        parse_request(_properties(VerifySignatureKey=wrap("-----BEGIN PRIVATE KEY-----hunter2")))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("names", "platforms"),
    [
        (["linux/amd64", "linux/arm64"], ["linux/amd64", "linux/arm64"]),
        ("linux/amd64, linux/x86_64,arm", ["linux/amd64", "linux/arm/v7"]),
        ("windows(10.0.17763)/amd64", ["windows(10.0.17763)/amd64"]),
    ],
)
def test_duplicate_platforms_are_removed(names: object, platforms: list[str]) -> None:
    request = parse_request(_properties(Platforms=names))
    assert [each.full_name for each in request.platforms] == platforms


@pytest.mark.parametrize(
    ("value", "tags"),
    [
        (["a", "b"], ("v1", "a", "b")),
        ("a, b,,", ("v1", "a", "b")),
        (["a", "v1", "a"], ("v1", "a")),
        ("", ("v1",)),
        (None, ("v1",)),
    ],
)
def test_further_tags_are_a_list_or_a_comma_list_without_duplicates(
    value: object, tags: tuple[str, ...]
) -> None:
    assert parse_request(_properties(DestTags=value)).all_tags == tags


@pytest.mark.parametrize(
    ("properties", "platforms", "copies_index"),
    [
        ({"ImageArch": "arm64"}, (LINUX_ARM64,), False),
        ({"ImageArch": ["arm64"]}, (LINUX_ARM64,), False),
        ({"ImageArch": "arm64", "CopyImageIndex": "false"}, (LINUX_ARM64,), False),
        ({"Platforms": "linux/arm64"}, (LINUX_ARM64,), False),
        ({"Platforms": ["linux/arm64", "linux/arm64/v8"]}, (LINUX_ARM64,), False),
        ({"Platforms": "all"}, (), True),
        ({"Platforms": "ALL"}, (), True),
        ({"Platforms": ["All"], "CopyImageIndex": True}, (), True),
        ({"Platforms": ["all"], "CopyImageIndex": True}, (), True),
        ({"CopyImageIndex": "TRUE"}, (), True),
        ({"CopyImageIndex": ""}, (), False),
    ],
)
def test_platform_properties_determine_the_selected_platforms(
    properties: dict[str, Any], platforms: tuple[Platform, ...], copies_index: bool
) -> None:
    request = parse_request(NEEDED | properties)
    assert (request.platforms, request.copies_index) == (platforms, copies_index)


@pytest.mark.parametrize(
    ("value", "policy"),
    [
        ({"numAttempts": "3", "baseDelay": "0.5", "maxDelay": 2}, RetryPolicy(3, 0.5, 2.0)),
        ('{"numAttempts": 1}', RetryPolicy(1, 1.0, 30.0)),
        ({"baseDelay": 60}, RetryPolicy(5, 60.0, 60.0)),
        ("", RetryPolicy()),
        ({}, RetryPolicy()),
    ],
)
def test_retries_are_a_map_or_its_json(value: object, policy: RetryPolicy) -> None:
    assert parse_request(_properties(RetryConfigs=value)).retry_policy == policy


def test_deeply_nested_json_is_rejected() -> None:
    for depth in (10, 500, 900, 990, 100_000):
        with pytest.raises(RequestError):
            parse_request(_properties(RetryConfigs="[" * depth + "]" * depth))


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        ["true", "all", "arm64", "a:1", "quay.io/a:1", '{"numAttempts": 2}', "1e999"]
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["numAttempts", "baseDelay", "maxDelay", "Tags", "KmsKey"]) | st.text(),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(KNOWN_PROPERTIES) | st.text(), _VALUES, max_size=6))
def test_arbitrary_properties_are_a_request_or_rejected(properties: dict[str, Any]) -> None:
    try:
        request = parse_request(properties)
    except RequestError:
        return
    assert request.destination.tag


@given(
    st.dictionaries(
        st.sampled_from(["DestTags", "ImageArch", "Platforms", "CopyImageIndex", "RetryConfigs"]),
        _VALUES,
        max_size=2,
    )
)
def test_arbitrary_optional_values_are_accepted_or_rejected(
    properties: dict[str, Any],
) -> None:
    try:
        request = parse_request(NEEDED | properties)
    except RequestError as error:
        assert any(name in error.render(property_name) for name in properties)  # noqa: PT017 - a request is valid too
        return
    assert 1 <= request.retry_policy.attempts <= 20
    assert len(set(request.platforms)) == len(request.platforms)


def test_the_repr_of_a_request_has_no_secrets() -> None:
    request = parse_request(_properties(SrcCreds="user:hunter2", DestCreds="user:hunter3"))
    assert (request.source_credentials, request.destination_credentials) == (
        "user:hunter2",
        "user:hunter3",
    )
    login = Login("user", "hunter2", "SrcCreds")
    inline = parse_inline_credentials("user:hunter2", Setting.SOURCE_CREDENTIALS)
    assert "hunter" not in f"{request!r} {request} {login!r} {inline!r}"


def test_a_password_may_contain_colons() -> None:
    setting = Setting.SOURCE_CREDENTIALS
    inline = parse_inline_credentials("user:a:b", setting)
    assert inline == InlineCredentials("user", "a:b", setting)
    assert inline.find("quay.io") == Login("user", "a:b", setting)
    assert inline.renew("quay.io", Login("user", "a:b", setting)) is None


@pytest.mark.parametrize("text", ["hunter2", ":hunter2", "hunter2:"])
def test_malformed_credentials_are_rejected_and_not_quoted(text: str) -> None:
    with pytest.raises(RequestError, match="invalid source_credentials") as caught:
        parse_inline_credentials(text, Setting.SOURCE_CREDENTIALS)
    assert "hunter2" not in str(caught.value)


def test_no_credentials_are_anonymous() -> None:
    assert NoCredentials().find("quay.io") is None
    assert NoCredentials().renew("quay.io", Login("a", "b", "c")) is None


def test_cloudformations_string_values_are_parsed() -> None:
    properties = _properties(CopyImageIndex="true", RetryConfigs={"numAttempts": "2"})
    assert b"true" in encoded(properties)
    assert parse_request(properties).copies_index
