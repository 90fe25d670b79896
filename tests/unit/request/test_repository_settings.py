from __future__ import annotations

import json
from typing import Any

import pytest

from ecr_image_replicator.errors import RequestError
from ecr_image_replicator.request.repository_settings import (
    RepositorySettings,
    parse_repository_settings,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("", None),
        (False, None),
        ("false", None),
        (True, RepositorySettings()),
        ("true", RepositorySettings()),
        ({}, RepositorySettings()),
        ("{}", RepositorySettings()),
        ({"ScanOnPush": "true"}, RepositorySettings(scan_on_push=True)),
        ({"ImageTagMutability": "immutable"}, RepositorySettings("IMMUTABLE")),
        (
            {
                "ImageTagMutability": "IMMUTABLE_WITH_EXCLUSION",
                "ImageTagMutabilityExclusionFilters": ["latest", "dev-*"],
            },
            RepositorySettings(
                "IMMUTABLE_WITH_EXCLUSION", mutability_exclusions=("latest", "dev-*")
            ),
        ),
        (
            {"KmsKey": "alias/images"},
            RepositorySettings(encryption_type="KMS", kms_key="alias/images"),
        ),
        (
            {"LifecyclePolicy": {"rules": []}, "RepositoryPolicy": '{"Statement": []}'},
            RepositorySettings(
                lifecycle_policy='{"rules": []}', repository_policy='{"Statement": []}'
            ),
        ),
        (
            {"Tags": [{"Key": "team", "Value": "one"}]},
            RepositorySettings(tags={"team": "one"}),
        ),
        (json.dumps({"Tags": {"team": "one"}}), RepositorySettings(tags={"team": "one"})),
    ],
)
def test_create_repository_is_a_boolean_or_a_map(
    value: object, expected: RepositorySettings | None
) -> None:
    assert parse_repository_settings({"CreateRepository": value}) == expected


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("perhaps", "CreateRepository 'perhaps' is neither a map nor JSON"),
        ({"Scan": True}, "CreateRepository has 'Scan'; it takes ImageTagMutability"),
        ({"ImageTagMutability": "SOLID"}, "ImageTagMutability 'SOLID' is none of MUTABLE"),
        (
            {"ImageTagMutability": "IMMUTABLE_WITH_EXCLUSION"},
            (
                "CreateRepository has the ImageTagMutability IMMUTABLE_WITH_EXCLUSION and 0 "
                "ImageTagMutabilityExclusionFilters"
            ),
        ),
        (
            {"ImageTagMutabilityExclusionFilters": "dev-*"},
            "CreateRepository has the ImageTagMutability MUTABLE and 1 ",
        ),
        (
            {
                "ImageTagMutability": "MUTABLE_WITH_EXCLUSION",
                "ImageTagMutabilityExclusionFilters": ["dev-?"],
            },
            "CreateRepository.ImageTagMutabilityExclusionFilters has 'dev-?'; a wildcard is",
        ),
        (
            {"EncryptionType": "AES256", "KmsKey": "k"},
            "CreateRepository has a KmsKey, which EncryptionType AES256 does not use",
        ),
        ({"Tags": [{"Name": "team"}]}, "CreateRepository.Tags"),
    ],
)
def test_what_makes_no_repository_is_refused_by_name(value: Any, sentence: str) -> None:
    with pytest.raises(RequestError) as raised:
        parse_repository_settings({"CreateRepository": value})

    assert str(raised.value).startswith(sentence)
