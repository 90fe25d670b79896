from __future__ import annotations

import pytest

from ecr_image_replicator.archive.choice import Candidate, choose
from ecr_image_replicator.errors import ImageNotFoundError
from ecr_image_replicator.model.archive_references import ArchiveReference

IMAGES = [
    Candidate(("app:1", "docker.io/library/app:latest"), "first"),
    Candidate(("registry.example.com:5000/team/app:1",), "second"),
    Candidate(("v1",), "third"),
    Candidate((), "fourth"),
]


def chosen(selector: str | int | None, images: list[Candidate[str]] = IMAGES) -> str:
    return choose(images, ArchiveReference("bucket", "a.tar", "", selector))


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("app:1", "first"),
        ("docker.io/app:1", "first"),
        ("app", "first"),
        ("library/app:latest", "first"),
        ("registry.example.com:5000/team/app:1", "second"),
        ("v1", "third"),
        (0, "first"),
        (3, "fourth"),
    ],
)
def test_a_selector_is_a_full_or_short_name_or_a_position(
    selector: str | int, expected: str
) -> None:
    assert chosen(selector) == expected


def test_a_single_image_needs_no_selector() -> None:
    assert chosen(None, IMAGES[3:]) == "fourth"


def test_an_exact_name_has_precedence_over_a_normalized_name() -> None:
    images = [Candidate(("docker.io/library/app:latest",), "long"), Candidate(("app",), "short")]
    assert chosen("app", images) == "short"


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("app:2", "cannot read s3://bucket/a.tar:app:2: image not found in the archive"),
        ("team/app:1", "image not found in the archive"),
        ("UPPER/:x", "image not found in the archive"),
        (4, "cannot read s3://bucket/a.tar:@4: image not found in the archive"),
        (None, "the archive holds several images and the reference names none"),
    ],
)
def test_the_error_for_a_missing_or_unknown_selector_lists_all_images(
    selector: str | int | None, found: str
) -> None:
    with pytest.raises(ImageNotFoundError) as caught:
        chosen(selector)
    assert found in str(caught.value)
    assert (
        "it has 4 images: @0 app:1, docker.io/library/app:latest; @1 "
        "registry.example.com:5000/team/app:1; @2 v1; @3 (no name)"
    ) in str(caught.value)


def test_a_selector_that_matches_two_images_is_an_error() -> None:
    with pytest.raises(ImageNotFoundError, match="several images of the archive have this name"):
        chosen("app:1", [Candidate(("app:1",), "a"), Candidate(("app:1",), "b")])


def test_the_error_lists_at_most_12_images() -> None:
    images = [Candidate((f"app:{number}",), str(number)) for number in range(50)]
    with pytest.raises(ImageNotFoundError) as caught:
        chosen(None, images)
    assert "it has 50 images: @0 app:0; " in str(caught.value)
    assert "@11 app:11; …" in str(caught.value)
    assert "app:12" not in str(caught.value)
