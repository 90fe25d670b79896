"""CopyReferrers: signatures, SBOMs and attestations are copied with their image."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable

import pytest
from local.images import Content, Image, build_image, build_index, build_layer, push
from local.registry import RegistryServer
from tests.functional.conftest import Function
from tests.functional.cosign_fixtures import (
    copy,
    cosign_tag,
    fallback_tag,
    manifest_puts,
    referrers,
    sbom,
    signatures,
    two_platforms,
)

Start = Callable[..., RegistryServer]


@pytest.fixture
def image() -> Image:
    return build_image([build_layer(2000, seed=5)])


def test_referrers_are_copied_with_their_image(
    function: Function, registries: Start, image: Image
) -> None:
    source, destination = registries(), registries()
    push(image, source.host, "team/app", "1")
    attached = [sbom(image, b"1"), sbom(image, b"2", note="second")]
    for each in attached:
        push(each, source.host, "team/app")

    response = copy(function, source, destination)

    assert response["Status"] == "SUCCESS", response
    assert referrers(destination, image.digest) == {each.digest for each in attached}
    assert response["Data"]["ReferrersCopied"] == "2"
    assert response["Data"]["ReferrersRefused"] == "0"
    assert response["Data"]["Changed"] == "true"
    # the registry has the referrers API, so no fallback tag is pushed
    assert destination.store.tags("mirror/app") == {"1": image.digest}


@pytest.mark.parametrize("dry_run", ["false", "true"])
def test_a_first_copy_counts_each_blob_of_image_and_referrers_once(
    function: Function, registries: Start, image: Image, dry_run: str
) -> None:
    source, destination = registries(), registries()
    push(image, source.host, "team/app", "1")
    attached = [sbom(image, b"1"), sbom(image, b"22")]
    for each in attached:
        push(each, source.host, "team/app")

    data = copy(function, source, destination, DestTags="2", DryRun=dry_run)["Data"]

    blobs = {
        digest: len(blob) for each in (image, *attached) for digest, blob in each.blobs.items()
    }
    assert data["BlobsCopied"] == str(len(blobs))
    assert data["BytesCopied"] == str(sum(blobs.values()))
    assert (data["BlobsSkipped"], data["BlobsMounted"]) == ("0", "0")


@pytest.mark.parametrize("count", [2, 6])
def test_a_blob_shared_by_referrers_is_pulled_and_pushed_once(
    function: Function, registries: Start, image: Image, count: int
) -> None:
    source, destination = registries(), registries()
    push(image, source.host, "team/app", "1")
    attached = [sbom(image, bytes([number])) for number in range(count)]
    for each in attached:
        push(each, source.host, "team/app")
    assert copy(function, source, destination, CopyReferrers="false")["Status"] == "SUCCESS"
    source.clear_requests()
    destination.clear_requests()

    response = copy(function, source, destination)

    assert referrers(destination, image.digest) == {each.digest for each in attached}
    # the shared empty config, and one blob per referrer
    assert response["Data"]["BlobsCopied"] == str(1 + count)
    assert response["Data"]["BlobsSkipped"] == "0"
    read = [entry.path for entry in source.requests if "/blobs/" in entry.path]
    assert len(read) == len(set(read)) == 1 + count
    sent = Counter(entry.method for entry in destination.requests if "/blobs/" in entry.path)
    # a HEAD precedes two of the uploads, as the registry does not announce mounts; one more POST
    # may try a mount, depending on the order of the parallel referrers
    assert (sent["HEAD"], sent["PUT"]) == (2, 1 + count)
    assert sent["POST"] - sent["PUT"] in {0, 1}
    assert len(manifest_puts(destination)) == count


def test_a_shared_blob_is_copied_even_if_one_of_its_referrers_fails(
    function: Function, registries: Start, image: Image
) -> None:
    source, destination = registries(), registries()
    push(image, source.host, "team/app", "1")
    whole, broken = sbom(image, b"whole"), sbom(image, b"broken")
    for each in (broken, whole):
        push(each, source.host, "team/app")
    [lost] = set(broken.blobs) - set(whole.blobs)
    source.store.delete_blob("team/app", lost)

    response = copy(function, source, destination)

    assert response["Data"]["ReferrersCopied"] == "1", response
    assert response["Data"]["ReferrersRefused"] == "1"
    assert referrers(destination, image.digest) == {whole.digest}
    assert set(whole.blobs) <= set(destination.store.blobs("mirror/app"))


def test_tags_are_pushed_after_all_images_and_referrers(
    function: Function, registries: Start
) -> None:
    source, destination = registries(), registries(referrers_api=False)
    images, index = two_platforms()
    push(index, source.host, "team/app", "1")
    attached = [sbom(index), sbom(images[0])]
    for each in attached:
        push(each, source.host, "team/app")
    signed = signatures([(b"{}", "x")])
    push(signed, source.host, "team/app", cosign_tag(index.digest))

    response = copy(
        function,
        source,
        destination,
        Platforms="all",
        DestTags="latest",
        ArchImageTags={"arm64": "1-arm64"},
    )

    assert response["Status"] == "SUCCESS", response
    puts = manifest_puts(destination)
    tags = {"1", "latest", "1-arm64"}
    assert set(puts[-3:]) == tags
    assert not tags & set(puts[:-3])
    assert set(puts[:2]) == {each.digest for each in images}
    assert puts[2] == index.digest
    assert set(puts[3:-3]) == {
        *(each.digest for each in attached),
        cosign_tag(index.digest),
        fallback_tag(index.digest),
        fallback_tag(images[0].digest),
    }


def test_referrers_of_referrers_are_copied(
    function: Function, registries: Start, image: Image
) -> None:
    source, destination = registries(), registries()
    push(image, source.host, "team/app", "1")
    chain: list[Content] = [image]
    for number in range(3):
        chain.append(sbom(chain[-1], bytes([number])))
        push(chain[-1], source.host, "team/app")

    response = copy(function, source, destination)

    assert response["Data"]["ReferrersCopied"] == "3"
    for subject, each in itertools.pairwise(chain):
        assert referrers(destination, subject.digest) == {each.digest}


def test_referrers_nested_deeper_than_4_are_an_error_and_no_tag_is_pushed(
    function: Function, registries: Start, image: Image
) -> None:
    source, destination = registries(), registries()
    push(image, source.host, "team/app", "1")
    chain: list[Content] = [image]
    for number in range(6):
        chain.append(sbom(chain[-1], bytes([number])))
        push(chain[-1], source.host, "team/app")

    response = copy(function, source, destination)

    assert response["Status"] == "FAILED"
    assert "nest deeper than 4" in response["Reason"]
    assert destination.store.tags("mirror/app") == {}


def test_cosigns_tags_are_copied(function: Function, registries: Start, image: Image) -> None:
    source, destination = registries(), registries()
    push(image, source.host, "team/app", "1")
    tagged = {
        cosign_tag(image.digest, kind): signatures([(kind.encode(), kind)])
        for kind in ("sig", "att", "sbom")
    }
    for tag, content in tagged.items():
        push(content, source.host, "team/app", tag)

    response = copy(function, source, destination)

    assert response["Data"]["ReferrersCopied"] == "3"
    assert destination.store.tags("mirror/app") == {
        "1": image.digest,
        **{tag: content.digest for tag, content in tagged.items()},
    }


def test_additional_signatures_at_the_destination_are_kept(
    function: Function, registries: Start, image: Image
) -> None:
    source, destination = registries(), registries()
    push(image, source.host, "team/app", "1")
    tag = cosign_tag(image.digest)
    push(signatures([(b"{}", "theirs")]), source.host, "team/app", tag)
    both = signatures([(b"{}", "theirs"), (b"{}", "ours")])
    push(both, destination.host, "mirror/app", tag)

    response = copy(function, source, destination)

    assert response["Data"]["ReferrersCopied"] == "0"
    assert destination.store.tags("mirror/app")[tag] == both.digest


def test_new_signatures_at_the_source_replace_the_destinations_tag(
    function: Function, registries: Start, image: Image
) -> None:
    source, destination = registries(), registries()
    push(image, source.host, "team/app", "1")
    tag = cosign_tag(image.digest)
    current = signatures([(b"{}", "old"), (b"{}", "new")])
    push(current, source.host, "team/app", tag)
    push(signatures([(b"{}", "old")]), destination.host, "mirror/app", tag)

    copy(function, source, destination)

    assert destination.store.tags("mirror/app")[tag] == current.digest


def test_a_second_copy_pushes_nothing(function: Function, registries: Start, image: Image) -> None:
    source, destination = registries(), registries()
    push(image, source.host, "team/app", "1")
    push(sbom(image), source.host, "team/app")
    push(signatures([(b"{}", "x")]), source.host, "team/app", cosign_tag(image.digest))
    copy(function, source, destination)
    source.clear_requests()
    destination.clear_requests()

    response = copy(function, source, destination)

    assert response["Data"]["Changed"] == "false"
    assert response["Data"]["ReferrersCopied"] == "0"
    # the tag; then the list and cosign's three tags for the image and for each of two referrers
    assert Counter(entry.method for entry in source.requests) == Counter(HEAD=1, GET=3 * 4)
    # the tag, the list, cosign's tag
    assert Counter(entry.method for entry in destination.requests) == Counter(GET=3)


def test_a_new_referrer_of_an_unchanged_image_is_copied_without_pushing_tags(
    function: Function, registries: Start, image: Image
) -> None:
    source, destination = registries(), registries()
    push(image, source.host, "team/app", "1")
    copy(function, source, destination)
    late = sbom(image)
    push(late, source.host, "team/app")
    destination.clear_requests()

    response = copy(function, source, destination)

    assert response["Data"]["Changed"] == "true"
    assert manifest_puts(destination) == [late.digest]


def test_referrers_are_not_copied_if_copyreferrers_is_false(
    function: Function, registries: Start, image: Image
) -> None:
    source, destination = registries(), registries()
    push(image, source.host, "team/app", "1")
    push(sbom(image), source.host, "team/app")
    source.clear_requests()

    response = copy(function, source, destination, CopyReferrers="false")

    assert referrers(destination, image.digest) == set()
    assert "ReferrersCopied" not in response["Data"]
    # the tag, the manifest, the config and the layer
    assert Counter(entry.method for entry in source.requests) == Counter(HEAD=1, GET=3)


def test_one_platform_is_copied_with_its_referrers_and_without_those_of_the_index(
    function: Function, registries: Start
) -> None:
    source, destination = registries(), registries()
    images, index = two_platforms()
    push(index, source.host, "team/app", "1")
    contents: list[Content] = [index, *images]
    attached = {each.digest: sbom(each) for each in contents}
    for each in attached.values():
        push(each, source.host, "team/app")

    response = copy(function, source, destination, ImageArch="arm64")

    assert response["Data"]["ReferrersCopied"] == "1"
    assert referrers(destination, images[1].digest) == {attached[images[1].digest].digest}
    assert referrers(destination, index.digest) == set()


def test_a_referrer_that_is_an_index_is_copied_with_its_children(
    function: Function, registries: Start, image: Image
) -> None:
    source, destination = registries(), registries()
    push(image, source.host, "team/app", "1")
    images, _ = two_platforms()
    attached = build_index(images, subject=image)
    push(attached, source.host, "team/app")

    response = copy(function, source, destination)

    assert response["Data"]["ReferrersCopied"] == "1", response
    assert referrers(destination, image.digest) == {attached.digest}
    assert destination.store.blobs("mirror/app") == {*image.blobs, *attached.blobs}


def test_a_platform_subset_is_copied_with_the_referrers_of_its_images(
    function: Function, registries: Start
) -> None:
    source, destination = registries(), registries()
    images, _ = two_platforms()
    third = build_image([build_layer(100, seed=9)], "linux/s390x")
    index = build_index([*images, third])
    push(index, source.host, "team/app", "1")
    contents: list[Content] = [index, *images, third]
    attached = [sbom(each) for each in contents]
    for each in attached:
        push(each, source.host, "team/app")

    response = copy(function, source, destination, Platforms="linux/amd64,linux/arm64")

    assert response["Data"]["ReferrersCopied"] == "2", response
    for described, each in zip(images, attached[1:3], strict=True):
        assert referrers(destination, described.digest) == {each.digest}


def test_a_copy_within_a_repository_copies_no_blob_and_no_referrer(
    function: Function, registries: Start
) -> None:
    registry = registries()
    images, _ = two_platforms()
    index = build_index([*images, build_image([build_layer(100, seed=9)], "linux/s390x")])
    push(index, registry.host, "team/app", "1")
    push(sbom(images[0]), registry.host, "team/app")
    registry.clear_requests()

    response = function.create(
        f"{registry.host}/team/app:1",
        f"{registry.host}/team/app:two",
        Platforms="linux/amd64,linux/arm64",
        ArchImageTags={"arm64": "two-arm64"},
        CopyReferrers="required",
    )

    assert response["Status"] == "SUCCESS", response
    assert response["Data"]["ReferrersCopied"] == "0"
    assert registry.store.tags("team/app")["two-arm64"] == images[1].digest
    # the subset index by digest (referrers precede tags), then the tags
    puts = manifest_puts(registry)
    assert puts[0] == response["Data"]["ImageDigest"]
    assert set(puts[1:]) == {"two", "two-arm64"}
    assert not [entry for entry in registry.requests if "/blobs/" in entry.path]
