from __future__ import annotations

import pytest

from ecr_image_replicator.model.tag_mutability import TagMutability


@pytest.mark.parametrize(
    ("kind", "exclusions", "tag", "immutable"),
    [
        ("MUTABLE", (), "v1", False),
        ("IMMUTABLE", (), "v1", True),
        ("IMMUTABLE", ("v*",), "v1", True),
        ("IMMUTABLE_WITH_EXCLUSION", ("latest", "dev-*"), "v1", True),
        ("IMMUTABLE_WITH_EXCLUSION", ("latest", "dev-*"), "latest", False),
        ("IMMUTABLE_WITH_EXCLUSION", ("latest", "dev-*"), "dev-7", False),
        ("IMMUTABLE_WITH_EXCLUSION", ("latest", "dev-*"), "a-dev-7", True),
        ("IMMUTABLE_WITH_EXCLUSION", ("DEV-*",), "dev-7", True),
        ("IMMUTABLE_WITH_EXCLUSION", ("*.*.*",), "1.2.3", False),
        ("IMMUTABLE_WITH_EXCLUSION", (), "v1", True),
        ("MUTABLE_WITH_EXCLUSION", ("prod-*",), "prod-1", True),
        ("MUTABLE_WITH_EXCLUSION", ("prod-*",), "dev-1", False),
        ("A_KIND_OF_THE_FUTURE", (), "v1", False),
    ],
)
def test_tag_immutability_depends_on_the_setting_and_its_exclusions(
    kind: str, exclusions: tuple[str, ...], tag: str, immutable: bool
) -> None:
    assert TagMutability(kind, exclusions).is_immutable(tag) is immutable
