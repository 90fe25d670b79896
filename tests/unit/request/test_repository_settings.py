from __future__ import annotations

import json
from typing import Any

import pytest

from ecr_image_replicator.errors import RequestError
from ecr_image_replicator.request.properties import property_name
from ecr_image_replicator.request.repository_settings import (
    RepositorySettings,
    parse_repository_settings,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("", None),
        (" ", None),
        ("null", None),
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
            {
                "LifecyclePolicy": {
                    "rules": [
                        {
                            "rulePriority": "1",
                            "description": "2",
                            "selection": {"tagPrefixList": ["3"], "countNumber": 4},
                        }
                    ]
                }
            },
            RepositorySettings(
                lifecycle_policy='{"rules": [{"rulePriority": 1, "description": "2", '
                '"selection": {"tagPrefixList": ["3"], "countNumber": 4}}]}'
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
    ("value", "message"),
    [
        ("perhaps", "invalid CreateRepository: 'perhaps' is neither a map nor JSON"),
        ({"Scan": True}, "invalid CreateRepository: unknown key 'Scan'. Use ImageTagMutability"),
        (
            {"ImageTagMutability": "SOLID"},
            "invalid CreateRepository.ImageTagMutability: 'SOLID' is not one of MUTABLE",
        ),
        (
            {"ImageTagMutability": "IMMUTABLE_WITH_EXCLUSION"},
            "invalid CreateRepository.ImageTagMutabilityExclusionFilters: 0 filters with",
        ),
        (
            {"ImageTagMutabilityExclusionFilters": "dev-*"},
            "invalid CreateRepository.ImageTagMutabilityExclusionFilters: 1 filters with",
        ),
        (
            {
                "ImageTagMutability": "MUTABLE_WITH_EXCLUSION",
                "ImageTagMutabilityExclusionFilters": ["dev-?"],
            },
            "invalid CreateRepository.ImageTagMutabilityExclusionFilters: 'dev-?' is not",
        ),
        (
            {"EncryptionType": "AES256", "KmsKey": "k"},
            "invalid CreateRepository.KmsKey: it cannot be combined with EncryptionType AES256",
        ),
        ({"Tags": [{"Name": "team"}]}, "invalid CreateRepository.Tags: "),
    ],
)
def test_an_invalid_key_is_rejected_by_name(value: Any, message: str) -> None:
    with pytest.raises(RequestError) as raised:
        parse_repository_settings({"CreateRepository": value})

    assert raised.value.render(property_name).startswith(message)
