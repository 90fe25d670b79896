from __future__ import annotations

import base64

import pytest
from tests.unit.builders import FakeSource, blob, digest_of, encoded, image, manifest_document

from ecr_image_replicator.copy.cache import CachingSource, ContentCache
from ecr_image_replicator.errors import DigestMismatchError
from ecr_image_replicator.model.manifests import (
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_MANIFEST,
    ImageManifest,
    parse_manifest,
)
from ecr_image_replicator.model.platforms import Platform

OWNER = ("quay.io/team/app", "SrcCreds")
CONFIG = encoded({"os": "linux", "architecture": "arm64"})


def test_the_least_recently_used_content_is_evicted_first() -> None:
    cache = ContentCache(capacity_bytes=10)
    for content in (b"aaaa", b"bbbb"):
        cache.keep(OWNER, digest_of(content), content, "text/plain")
    assert cache.lookup(OWNER, digest_of(b"aaaa")) == (b"aaaa", "text/plain")
    cache.keep(OWNER, digest_of(b"cccc"), b"cccc", "text/plain")
    assert cache.lookup(OWNER, digest_of(b"bbbb")) is None
    assert cache.lookup(OWNER, digest_of(b"aaaa")) is not None
    assert cache.lookup(OWNER, digest_of(b"cccc")) is not None


def test_content_larger_than_the_cache_is_not_cached_and_evicts_nothing() -> None:
    cache = ContentCache(capacity_bytes=4)
    cache.keep(OWNER, digest_of(b"a"), b"a", "")
    cache.keep(OWNER, digest_of(b"large"), b"large", "")
    assert cache.lookup(OWNER, digest_of(b"large")) is None
    assert cache.lookup(OWNER, digest_of(b"a")) is not None


def test_content_that_is_cached_twice_counts_once() -> None:
    cache = ContentCache(capacity_bytes=4)
    for content in (b"aa", b"aa", b"bb"):
        cache.keep(OWNER, digest_of(content), content, "")
    assert cache.lookup(OWNER, digest_of(b"aa")) is not None


def test_a_manifest_is_cached_by_digest_and_not_by_tag() -> None:
    manifest = image()
    source = FakeSource(manifests=[manifest])
    caching = CachingSource(source, ContentCache(), OWNER)
    assert caching.find_digest() == manifest.digest
    assert caching.fetch_manifest() == manifest
    assert caching.fetch_manifest(manifest.digest) == manifest
    assert caching.fetch_manifest(manifest.digest) == manifest
    assert caching.fetch_manifest() == manifest
    assert source.fetched == [None, None]


def test_a_config_is_read_once_to_find_its_platform() -> None:
    manifest = image(config=CONFIG)
    source = FakeSource([CONFIG], [manifest])
    caching = CachingSource(source, ContentCache(), OWNER)
    assert caching.known_platform(manifest) is None
    assert caching.fetch_platform(manifest) == Platform("linux", "arm64")
    assert caching.fetch_platform(manifest) == Platform("linux", "arm64")
    assert caching.known_platform(manifest) == Platform("linux", "arm64")
    assert source.opened == [digest_of(CONFIG)]


def test_a_cached_config_is_copied_from_memory() -> None:
    source = FakeSource([CONFIG])
    caching = CachingSource(source, ContentCache(), OWNER)
    descriptor = blob(CONFIG, OCI_CONFIG)
    buffer = memoryview(bytearray(len(CONFIG) + 9))
    for _ in range(2):
        with caching.open_blob(descriptor) as reader:
            assert reader.readinto(buffer) == len(CONFIG)
            assert reader.readinto(buffer) == 0
    assert buffer[: len(CONFIG)] == CONFIG
    assert len(source.opened) == 1


def test_cached_content_is_not_shared_between_owners() -> None:
    cache = ContentCache()
    manifest = image(config=CONFIG)
    first = FakeSource([CONFIG], [manifest])
    CachingSource(first, cache, OWNER).fetch_platform(manifest)
    CachingSource(first, cache, OWNER).fetch_manifest(manifest.digest)
    for other in (("quay.io/team/app", "other"), ("ghcr.io/team/app", "SrcCreds")):
        source = FakeSource([CONFIG], [manifest])
        caching = CachingSource(source, cache, other)
        assert caching.known_platform(manifest) is None
        caching.fetch_manifest(manifest.digest)
        caching.fetch_platform(manifest)
        assert (source.fetched, source.opened) == ([manifest.digest], [manifest.config.digest])


def test_the_media_type_is_cached_separately_for_each_registry() -> None:
    document = manifest_document()
    del document["mediaType"]
    oci, docker = (
        parse_manifest(encoded(document), each) for each in (OCI_MANIFEST, DOCKER_MANIFEST)
    )
    cache = ContentCache()
    for owner, manifest in (("a", oci), ("b", docker), ("a", oci), ("b", docker)):
        caching = CachingSource(FakeSource(manifests=[manifest]), cache, owner)
        assert caching.fetch_manifest(manifest.digest).media_type == manifest.media_type


def test_layers_are_not_cached() -> None:
    source = FakeSource([b"layer"])
    caching = CachingSource(source, ContentCache(), OWNER)
    for _ in range(2):
        with caching.open_blob(blob(b"layer")) as reader:
            assert reader.readinto(memoryview(bytearray(9))) == 5
    assert len(source.opened) == 2


def test_a_config_with_a_digest_mismatch_is_rejected_and_not_cached() -> None:
    manifest = image(config=CONFIG)
    source = FakeSource([CONFIG], [manifest])
    source.content[digest_of(CONFIG)] = CONFIG.replace(b"arm64", b"amd64")
    caching = CachingSource(source, ContentCache(), OWNER)
    with pytest.raises(DigestMismatchError):
        caching.fetch_platform(manifest)
    assert caching.known_platform(manifest) is None


@pytest.mark.parametrize(
    "config", [{"size": 2**40}, {"mediaType": "application/vnd.oci.empty.v1+json"}]
)
def test_configs_of_artifacts_and_oversized_configs_are_not_read(
    config: dict[str, object],
) -> None:
    document = manifest_document()
    document["config"] |= config
    manifest = parse_manifest(encoded(document))
    assert isinstance(manifest, ImageManifest)
    source = FakeSource()
    assert CachingSource(source, ContentCache(), OWNER).fetch_platform(manifest) is None
    assert source.opened == []


@pytest.mark.parametrize("config", [b"{", b"[]", b'{"os": "linux", "architecture": NaN}'])
def test_an_image_with_an_invalid_config_has_no_platform(config: bytes) -> None:
    manifest = image(config=config)
    caching = CachingSource(FakeSource([config], [manifest]), ContentCache(), OWNER)
    assert caching.fetch_platform(manifest) is None


def test_the_platform_is_read_from_a_config_embedded_as_data() -> None:
    document = manifest_document(config=CONFIG)
    document["config"]["data"] = base64.b64encode(CONFIG).decode()
    manifest = parse_manifest(encoded(document))
    assert isinstance(manifest, ImageManifest)
    source = FakeSource()
    caching = CachingSource(source, ContentCache(), OWNER)
    assert caching.fetch_platform(manifest) == Platform("linux", "arm64")
    assert source.opened == []
