from __future__ import annotations

from typing import Any

import pytest

from ecr_image_replicator.errors import RequestError
from ecr_image_replicator.request.parsing import UntagRequest, parse_untagging
from ecr_image_replicator.request.properties import property_name
from ecr_image_replicator.request.roles import AssumedRole

_DIGEST = "sha256:" + "a" * 64
_HOST = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
_ID = f"{_HOST}/team/app:1.0@{_DIGEST}"


def _parse(physical_id: str, **properties: Any) -> UntagRequest | None:
    return parse_untagging(physical_id, {"OnDelete": "Untag", **properties})


def test_destination_and_digest_are_parsed_from_the_physical_id() -> None:
    found = _parse(
        _ID,
        DestTags=["1", "1.0", "latest"],
        DestCreds="hub",
        DestRoleArn="arn:aws:iam::123456789012:role/push",
        DestExternalId="abc",
    )

    assert found is not None
    assert str(found.destination) == _ID
    assert str(found.digest) == _DIGEST
    assert found.all_tags == ("1.0", "1", "latest")
    assert found.destination_credentials == "hub"
    assert found.destination_role == AssumedRole("arn:aws:iam::123456789012:role/push", "abc")


def test_other_invalid_properties_are_ignored() -> None:
    found = _parse(_ID, SrcImage="::::", DestImage=7, Platforms={}, NoSuchProperty="x")

    assert found is not None


@pytest.mark.parametrize("on_delete", [None, "", "Retain", "retain", "unknown", 7])
def test_nothing_is_removed_without_untag(on_delete: object) -> None:
    assert parse_untagging(_ID, {"OnDelete": on_delete}) is None
    assert parse_untagging(_ID, {}) is None


@pytest.mark.parametrize("on_delete", ["Untag", "untag", " UNTAG "])
def test_untag_is_case_insensitive(on_delete: str) -> None:
    assert parse_untagging(_ID, {"OnDelete": on_delete}) is not None


@pytest.mark.parametrize(
    "physical_id",
    [
        "",
        "not-created/Image/11111111-2222-3333-4444-555555555555",
        f"{_HOST}/team/app:1.0",
        f"{_HOST}/team/app@{_DIGEST}",
        f"docker://{_ID}",
        f"app:1.0@{_DIGEST}",
        f"{_HOST.upper()}/team/app:1.0@{_DIGEST}",
        f"{_HOST}/team/app:1.0@sha256:short",
        "docker://source:latest:docker://destination:latest",
        "s3://bucket/key",
        "x" * 2000,
    ],
)
def test_a_physical_id_of_another_program_is_ignored(physical_id: str) -> None:
    assert _parse(physical_id) is None


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ({"DestTags": ["no tag"]}, "invalid DestTags: 'no tag'"),
        ({"DestRoleArn": "no-arn"}, "invalid DestRoleArn: 'no-arn' is not the ARN of a role"),
        ({"DestExternalId": "abc"}, "DestRoleArn is required with DestExternalId"),
    ],
)
def test_an_invalid_property_required_for_untagging_is_rejected(
    properties: dict[str, Any], message: str
) -> None:
    with pytest.raises(RequestError) as raised:
        _parse(_ID, **properties)

    assert raised.value.render(property_name).startswith(message)
