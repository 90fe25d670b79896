"""Archives with changed bytes are copied correctly or fail with an error of this program."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from local.archives import SavedImage, build_docker_save, build_oci_layout
from local.images import build_image, build_index, build_layer
from tests.unit.archives import MemoryObject
from tests.unit.builders import FakeDestination, digest_of

from ecr_image_replicator.archive.compression import Compression
from ecr_image_replicator.archive.image_builder import ImageBuilder
from ecr_image_replicator.archive.layer_cache import LayerCache
from ecr_image_replicator.archive.layer_proofs import LayerProofs
from ecr_image_replicator.archive.source import ArchiveSource
from ecr_image_replicator.copy.cache import CachingSource, ContentCache
from ecr_image_replicator.copy.plan import make_plan
from ecr_image_replicator.copy.progress import LoggedProgress
from ecr_image_replicator.copy.resolve import ContentReader
from ecr_image_replicator.copy.transfer import Transfer
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.errors import ReplicationError
from ecr_image_replicator.model.archive_references import ArchiveReference
from ecr_image_replicator.model.references import parse_image_reference
from ecr_image_replicator.request.parsing import ReplicationRequest
from ecr_image_replicator.retries import Backoff, RetryPolicy

DESTINATION = parse_image_reference("example.com/app:1")
LAYERS = [build_layer(3000, seed, "none") for seed in range(2)]
COMPRESSED_LAYERS = [build_layer(3000, seed) for seed in range(2)]


def build() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "archive"
        saved = SavedImage([*LAYERS, LAYERS[0]], ["app:1"])
        index = build_index([build_image([layer]) for layer in COMPRESSED_LAYERS])
        found = {
            "folders": build_docker_save(path, [saved]).read_bytes(),
            "layout": build_docker_save(path, [saved], "layout").read_bytes(),
            "compressed": build_docker_save(
                path, [SavedImage(COMPRESSED_LAYERS, ["app:1"])], "compressed"
            ).read_bytes(),
            "reversed": build_docker_save(path, [saved], reverse_order=True).read_bytes(),
            "oci": build_oci_layout(path, [(index, "app:1")]).read_bytes(),
        }
    return found | {
        "gzip": gzip.compress(found["folders"]),
        "compressed twice": gzip.compress(found["compressed"]),
        "zstd": zstandard.ZstdCompressor(write_checksum=True).compress(found["reversed"]),
        "bzip2": bz2.compress(found["oci"]),
        "xz": lzma.compress(found["layout"]),
    }


ARCHIVES = build()


class Repository(FakeDestination):
    """A repository that verifies digests, as registries do."""

    def check(self) -> None:
        for digest, content in self.stored.items():
            assert digest_of(content) == digest


def replicate(content: bytes, compression: Compression) -> Repository:
    """Copy the image of an archive to a repository, as `replicate` does."""
    reference = ArchiveReference("bucket", "key")
    deadline = Deadline(60)
    repository = Repository()
    request = ReplicationRequest(reference, DESTINATION, copies_index=True)
    with closing(ArchiveSource(reference, MemoryObject(content), compression)) as source:
        transfer = Transfer(
            source,
            repository,
            repository,
            deadline=deadline,
            backoff=Backoff(RetryPolicy(1), deadline),
            progress=LoggedProgress(),
            streams=2,
        )
        pinned = source.find_digest()
        image = source.find_stored_image()
        if image is None:
            reader = ContentReader(
                request, CachingSource(source, ContentCache(), ""), default_platforms=(), streams=2
            )
            found = reader.read(pinned)
            plan = make_plan(found.root, reader.read_children(found.root), ["1"])
        else:
            proofs = LayerProofs(DESTINATION.name, LayerCache(), transfer)
            builder = ImageBuilder(source, repository, transfer, proofs, {})
            assert builder.find(image, None) is None
            assembled = builder.build(image)
            plan = make_plan(assembled.manifest, {}, ["1"], known=assembled.present)
        sequential_order = source.sequential_order(plan.blobs) if source.is_sequential else None
        transfer.run(plan, sequential_order=sequential_order)
    return repository


def copy_or_fail(content: bytes, compression: Compression) -> None:
    try:
        repository = replicate(content, compression)
    except ReplicationError as error:
        assert 10 < len(str(error)) < 2000  # noqa: PT017 - a copy is valid too
        return
    repository.check()
    assert repository.events_of("manifest")[-1] == "1"


@pytest.mark.parametrize("kind", ARCHIVES)
@pytest.mark.parametrize("compression", list(Compression)[:3])
def test_every_archive_format_is_copied(kind: str, compression: Compression) -> None:
    repository = replicate(ARCHIVES[kind], compression)
    repository.check()
    assert repository.events_of("manifest")[-1] == "1"


_KINDS = st.sampled_from(sorted(ARCHIVES))
_COMPRESSIONS = st.sampled_from([Compression.GZIP, Compression.ZSTD, Compression.NONE])
_POSITIONS = st.floats(0, 1, exclude_max=True)
_MUTATIONS: dict[str, Callable[[bytes, int, bytes], bytes]] = {
    "overwritten": lambda content, at, new: content[:at] + new + content[at + len(new) :],
    "inserted": lambda content, at, new: content[:at] + new + content[at:],
    "dropped": lambda content, at, new: content[:at] + content[at + len(new) :],
    "cut": lambda content, at, _: content[:at],
    "zeroed": lambda content, at, new: content[:at] + bytes(len(content[at : at + len(new) * 50])),
}


@settings(max_examples=150, deadline=None)
@given(
    _KINDS,
    st.sampled_from(sorted(_MUTATIONS)),
    _POSITIONS,
    st.binary(min_size=1, max_size=600),
    _COMPRESSIONS,
)
def test_changed_bytes_copy_the_same_image_or_fail(
    kind: str, mutation: str, position: float, new: bytes, compression: Compression
) -> None:
    content = ARCHIVES[kind]
    copy_or_fail(_MUTATIONS[mutation](content, int(position * len(content)), new), compression)


#: Names, sizes, links and JSON, each with a replacement of the same length.
_TEXTS = [
    (b"layer.tar", b"layer.xyz"),
    (b"manifest.json", b"Manifest.json"),
    (b"index.json", b"indez.json"),
    (b"blobs/sha256", b"blobs/sha512"),
    (b'"Layers"', b'"Config"'),
    (b'"diff_ids": [', b'"diff_ids": {'),
    (b'"size": ', b'"size":-'),
    (b'"digest"', b'"diggst"'),
    (b'"sha256:', b'"sha257:'),
    (b"../", b"..."),
    (b"ustar", b"ustaX"),
    (b"0000644", b"0000777"),
    (b"[", b"{"),
    (b'"', b"\\"),
    (b"null", b"true"),
]


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["folders", "layout", "compressed", "reversed", "oci"]),
    st.sampled_from(_TEXTS),
    st.integers(0, 30),
    _COMPRESSIONS,
)
def test_changed_names_and_numbers_copy_the_same_image_or_fail(
    kind: str, change: tuple[bytes, bytes], occurrence: int, compression: Compression
) -> None:
    old, new = change
    pieces = ARCHIVES[kind].split(old)
    at = 1 + occurrence % max(1, len(pieces) - 1)
    content = old.join(pieces[:at]) + new + old.join(pieces[at:]) if len(pieces) > 1 else pieces[0]
    copy_or_fail(with_valid_checksums(content), compression)


_LENGTHS = st.one_of(
    st.integers(0, 10_000), st.sampled_from([511, 512, 513, 2**33, 2**62, 2**63, 2**64 - 1])
)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["folders", "layout", "compressed", "reversed", "oci", "gzip"]),
    st.integers(0, 40),
    _LENGTHS,
    st.booleans(),
    _COMPRESSIONS,
)
def test_changed_sizes_copy_the_same_image_or_fail(
    kind: str, number: int, length: int, binary: bool, compression: Compression
) -> None:
    content = ARCHIVES[kind]
    if kind == "gzip":
        content = gzip.decompress(content)
    headers = [at for at in range(0, len(content), 512) if content[at + 257 : at + 262] == b"ustar"]
    at = headers[number % len(headers)] + 124
    # the base-256 encoding of GNU tar
    field = bytes([0x80]) + length.to_bytes(11, "big")
    if not binary and length < 8**11:
        field = b"%011o\0" % length
    changed = with_valid_checksums(content[:at] + field + content[at + 12 :])
    copy_or_fail(gzip.compress(changed) if kind == "gzip" else changed, compression)


def with_valid_checksums(content: bytes) -> bytes:
    """Return the archive with correct header checksums, so that parsing continues."""
    blocks = [content[start : start + 512] for start in range(0, len(content), 512)]
    for number, block in enumerate(blocks):
        if block[257:262] == b"ustar" and len(block) == 512:
            total = sum(block[:148]) + 8 * 32 + sum(block[156:])
            blocks[number] = block[:148] + b"%06o\0 " % total + block[156:]
    return b"".join(blocks)
