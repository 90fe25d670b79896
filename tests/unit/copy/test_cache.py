from __future__ import annotations

import pytest
from tests.unit.builders import FakeSource, blob, digest_of, encoded, image, manifest_document

from ecr_image_replicator.copy.cache import CachingSource, ContentCache
from ecr_image_replicator.errors import DigestMismatchError
from ecr_image_replicator.model.manifests import OCI_CONFIG, ImageManifest, parse_manifest
from ecr_image_replicator.model.platforms import Platform

CONFIG = encoded({"os": "linux", "architecture": "arm64"})


def test_the_least_recently_used_content_is_dropped_first() -> None:
    cache = ContentCache(capacity_bytes=10)
    for content in (b"aaaa", b"bbbb"):
        cache.keep(digest_of(content), content, "text/plain")
    assert cache.find(digest_of(b"aaaa")) == (b"aaaa", "text/plain")
    cache.keep(digest_of(b"cccc"), b"cccc", "text/plain")
    assert cache.find(digest_of(b"bbbb")) is None
    assert cache.find(digest_of(b"aaaa")) is not None
    assert cache.find(digest_of(b"cccc")) is not None


def test_content_larger_than_the_cache_is_not_kept_and_drops_nothing() -> None:
    cache = ContentCache(capacity_bytes=4)
    cache.keep(digest_of(b"a"), b"a", "")
    cache.keep(digest_of(b"large"), b"large", "")
    assert cache.find(digest_of(b"large")) is None
    assert cache.find(digest_of(b"a")) is not None


def test_content_that_is_kept_twice_counts_once() -> None:
    cache = ContentCache(capacity_bytes=4)
    for content in (b"aa", b"aa", b"bb"):
        cache.keep(digest_of(content), content, "")
    assert cache.find(digest_of(b"aa")) is not None


def test_a_manifest_is_read_once_by_its_digest_and_always_by_its_tag() -> None:
    manifest = image()
    source = FakeSource(manifests=[manifest])
    caching = CachingSource(source, ContentCache())
    assert caching.find_digest() == manifest.digest
    assert caching.fetch_manifest() == manifest
    assert caching.fetch_manifest(manifest.digest) == manifest
    assert caching.fetch_manifest(manifest.digest) == manifest
    assert caching.fetch_manifest() == manifest
    assert source.fetched == [None, None]


def test_a_config_is_read_once_for_its_platform() -> None:
    manifest = image(config=CONFIG)
    source = FakeSource([CONFIG], [manifest])
    caching = CachingSource(source, ContentCache())
    assert caching.known_platform(manifest) is None
    assert caching.find_platform(manifest) == Platform("linux", "arm64")
    assert caching.find_platform(manifest) == Platform("linux", "arm64")
    assert caching.known_platform(manifest) == Platform("linux", "arm64")
    assert source.opened == [digest_of(CONFIG)]


def test_a_config_that_is_kept_is_copied_from_memory() -> None:
    source = FakeSource([CONFIG])
    caching = CachingSource(source, ContentCache())
    descriptor = blob(CONFIG, OCI_CONFIG)
    buffer = memoryview(bytearray(len(CONFIG) + 9))
    for _ in range(2):
        with caching.open_blob(descriptor) as reader:
            assert reader.readinto(buffer) == len(CONFIG)
            assert reader.readinto(buffer) == 0
    assert buffer[: len(CONFIG)] == CONFIG
    assert len(source.opened) == 1


def test_layers_are_not_kept() -> None:
    source = FakeSource([b"layer"])
    caching = CachingSource(source, ContentCache())
    for _ in range(2):
        with caching.open_blob(blob(b"layer")) as reader:
            assert reader.readinto(memoryview(bytearray(9))) == 5
    assert len(source.opened) == 2


def test_a_config_with_wrong_bytes_is_refused_and_not_kept() -> None:
    manifest = image(config=CONFIG)
    source = FakeSource([CONFIG], [manifest])
    source.content[digest_of(CONFIG)] = CONFIG.replace(b"arm64", b"amd64")
    caching = CachingSource(source, ContentCache())
    with pytest.raises(DigestMismatchError):
        caching.find_platform(manifest)
    assert caching.known_platform(manifest) is None


@pytest.mark.parametrize(
    "config", [{"size": 2**40}, {"mediaType": "application/vnd.oci.empty.v1+json"}]
)
def test_artifacts_and_outsize_configs_are_not_read_for_a_platform(
    config: dict[str, object],
) -> None:
    document = manifest_document()
    document["config"] |= config
    manifest = parse_manifest(encoded(document))
    assert isinstance(manifest, ImageManifest)
    source = FakeSource()
    assert CachingSource(source, ContentCache()).find_platform(manifest) is None
    assert source.opened == []
