"""Which content a request means: the image, or the index and everything below it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.copy.parallel import do_each
from ecr_image_replicator.copy.selection import (
    choose_entry,
    describe_platforms,
    find_platform,
    list_entries,
    nested_indexes,
    with_attestations,
)
from ecr_image_replicator.copy.subset import make_subset
from ecr_image_replicator.errors import InvalidManifestError, PlatformNotFoundError, RequestError
from ecr_image_replicator.model.conversion import convert_content
from ecr_image_replicator.model.manifests import ImageIndex, ImageManifest
from ecr_image_replicator.model.references import ImageReference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ecr_image_replicator.copy.cache import CachingSource
    from ecr_image_replicator.copy.selection import Entry
    from ecr_image_replicator.model.digests import Digest
    from ecr_image_replicator.model.manifests import Descriptor, Manifest
    from ecr_image_replicator.model.platforms import Platform
    from ecr_image_replicator.request.parsing import ReplicationRequest

#: An index below an index below an index is the deepest that anybody builds.
_MAX_INDEX_DEPTH: Final = 4
_MAX_MANIFESTS: Final = 1000
#: Of all that are held at a time; their parsed views take several times as much.
_MAX_MANIFESTS_BYTES: Final = 16 * 1024 * 1024

PlatformDigests = tuple[tuple["Platform", "Digest"], ...]


@dataclass(frozen=True, slots=True)
class Content:
    """What the tags are to point at.

    Attributes
    ----------
    named
        What the source's reference names: the root, or the index that it was chosen from.
    root
        The image or the index that is copied.
    platforms
        Of each image, with its manifest's digest; empty when that is not known yet.
    is_made
        Whether the root was made here and is not at the source.
    children
        The manifests below the root that were made here, by digest.
    """

    named: Manifest
    root: Manifest
    platforms: PlatformDigests
    is_made: bool = False
    children: Mapping[Digest, Manifest] = field(default_factory=dict)


class ContentReader:
    """Reads from the source what a request means.

    Parameters
    ----------
    request
        Chooses the platforms.
    source
        Where the image is.
    default_platforms
        Taken from an index when the request chooses none; empty for the whole index.
    streams
        Manifests read at once.
    stop
        Ends what the others wait for when one cannot be read.
    """

    def __init__(
        self,
        request: ReplicationRequest,
        source: CachingSource,
        *,
        default_platforms: Sequence[Platform],
        streams: int,
        stop: Callable[[], None] = lambda: None,
    ) -> None:
        self._request = request
        self._source = source
        self._default_platforms = default_platforms
        self._streams = streams
        self._stop = stop

    def read(self, pinned: Digest | None) -> Content:
        """Read the manifest that the source's reference names, and choose from it.

        What is below an index is read only as far as the choice needs it.

        Raises
        ------
        PlatformNotFoundError
            A platform that was asked for is not there.
        ReplicationError
            Something cannot be read.
        """
        manifest = self._source.fetch_manifest(pinned)
        if isinstance(manifest, ImageManifest):
            if self._request.platforms or self._request.arch_tags:
                self.check_single(self._source.fetch_platform(manifest))
            return Content(manifest, manifest, self.platforms_at_hand(manifest))
        wanted = self._wanted
        if not wanted:
            return Content(manifest, manifest, self.platforms_at_hand(manifest))
        return self._choose(manifest, wanted)

    def convert(self, content: Content) -> Content:
        """Convert content to the requested format; it stays as it is without one.

        Raises
        ------
        RequestError
            The format cannot express it.
        """
        if self._request.format is None:
            return content
        converted = convert_content(
            content.root, self.read_children(content.root), self._request.format
        )
        if converted.root is content.root:
            return content
        root = converted.root
        return replace(
            content,
            root=root,
            platforms=tuple(
                (platform, converted.digests.get(digest, root.digest))
                for platform, digest in content.platforms
            ),
            is_made=True,
            children=converted.children,
        )

    def read_children(self, root: Manifest) -> dict[Digest, Manifest]:
        """Read every manifest below an index, each once, a level at a time in parallel."""
        return self._read_below(root, only_indexes=False) if isinstance(root, ImageIndex) else {}

    def fetch(self, digest: Digest) -> Manifest:
        """Read one of the source's manifests, from the cache if it was read before."""
        return self._source.fetch_manifest(digest)

    def takes_as_is(self, manifest: Manifest) -> bool:
        """Return whether a manifest of the source is copied whole and unconverted."""
        if self._request.format is not None:
            return False  # only reading it and its children tells whether it has the format
        if isinstance(manifest, ImageManifest):
            return not self._request.platforms
        return not self._wanted

    def platforms_at_hand(self, manifest: Manifest) -> PlatformDigests:
        """Say which platforms a manifest is for; needs requests only for nested indexes."""
        if isinstance(manifest, ImageIndex):
            return _images(self._entries(manifest))
        platform = self._source.known_platform(manifest)
        return ((platform, manifest.digest),) if platform else ()

    def platforms_of(self, content: Content) -> PlatformDigests:
        """Say which platforms there are; a single image's config is read for it if need be."""
        if content.platforms or not isinstance(content.root, ImageManifest):
            return content.platforms
        platform = self._source.fetch_platform(content.root)
        return ((platform, content.root.digest),) if platform else ()

    def check_single(self, there: Platform | None) -> None:
        """Refuse a single image that is not all that was asked for by property.

        Raises
        ------
        PlatformNotFoundError
            It is of another platform.
        RequestError
            There are tags for the images of an index.
        """
        for each in self._request.platforms:
            if find_platform([there], each) is None:
                raise PlatformNotFoundError(
                    f"{self._request.source} has no image for {each.full_name}; it is a single "
                    f"image {f'for {there.full_name}' if there else 'without a platform'}"
                )
        if self._request.arch_tags:
            raise RequestError(
                f"ArchImageTags has tags for the images of an index, and {self._request.source} "
                "is a single image; use DestTags"
            )

    def arch_digests(self, content: Content) -> dict[str, Digest]:
        """Say what each tag of ArchImageTags is to point at.

        Raises
        ------
        PlatformNotFoundError
            A platform named there is not copied.
        """
        digests: dict[str, Digest] = {}
        for wanted, tag in self._request.arch_tags.items():
            position = find_platform([platform for platform, _ in content.platforms], wanted)
            if position is None:
                copied = describe_platforms(platform for platform, _ in content.platforms)
                raise PlatformNotFoundError(
                    f"ArchImageTags has the tag {tag} for {wanted.full_name}, which is not copied "
                    f"from {self._request.source}; copied is {copied or 'no platform'}, see "
                    "Platforms"
                )
            digests[tag] = content.platforms[position][1]
        return digests

    @property
    def _wanted(self) -> Sequence[Platform]:
        """The platforms to take from an index; none for all of it."""
        if self._request.copies_index:
            return ()
        return self._request.platforms or self._default_platforms

    def _choose(self, index: ImageIndex, wanted: Sequence[Platform]) -> Content:
        """Take one platform's image, or make an index of several."""
        entries = self._entries(index)
        if not all(entry.platform for entry in entries):
            offered = [entry.platform for entry in entries]
            if any(find_platform(offered, each) is None for each in wanted):
                entries = self._ask_configs(entries)
        origin = str(self._request.source)
        chosen = [choose_entry(entries, each, origin) for each in wanted]
        if len(wanted) == 1:
            digest = chosen[0].descriptor.digest
            platforms = ((chosen[0].platform or wanted[0], digest),)
            return Content(index, self._source.fetch_manifest(digest), platforms)
        kept = with_attestations(entries, chosen)
        if len(kept) == len(entries):
            return Content(index, index, _images(entries))
        source = self._request.source
        place = source.name if isinstance(source, ImageReference) else source.location
        subset = make_subset(index, kept, origin=place)
        return Content(index, subset, _images(kept), is_made=True)

    def _entries(self, index: ImageIndex) -> tuple[Entry, ...]:
        """List what an index holds, nested indexes taken apart."""
        below = self._read_below(index, only_indexes=True) if nested_indexes(index) else {}
        nested = {digest: m for digest, m in below.items() if isinstance(m, ImageIndex)}
        return list_entries(index, nested)

    def _ask_configs(self, entries: Sequence[Entry]) -> tuple[Entry, ...]:
        """Learn from images' configs what their index does not say of them."""

        def ask(entry: Entry) -> Entry:
            if entry.platform is not None:
                return entry
            manifest = self._source.fetch_manifest(entry.descriptor.digest)
            if not isinstance(manifest, ImageManifest):
                return entry
            return replace(entry, platform=self._source.fetch_platform(manifest))

        with ThreadPoolExecutor(self._streams, thread_name_prefix="configs") as pool:
            return tuple(pool.map(ask, entries))

    def _read_below(self, index: ImageIndex, *, only_indexes: bool) -> dict[Digest, Manifest]:
        """Read manifests below an index, each once, a level at a time in parallel."""
        children: dict[Digest, Manifest] = {}
        pending = _listed(index, only_indexes=only_indexes)
        depth = held_bytes = 0

        def fetch(digest: Digest) -> Manifest:
            nonlocal held_bytes
            # pushed under the name that its index has for it
            child = replace(self._source.fetch_manifest(digest), digest=digest)
            held_bytes += len(child.content)
            if held_bytes > _MAX_MANIFESTS_BYTES:
                raise InvalidManifestError(
                    f"the manifests of the index {index.digest} are larger than "
                    f"{_MAX_MANIFESTS_BYTES} bytes together"
                )
            return child

        with ThreadPoolExecutor(self._streams, thread_name_prefix="children") as pool:
            while pending:
                depth += 1
                digests = sorted({child.digest for child in pending} - children.keys())
                if depth > _MAX_INDEX_DEPTH or len(children) + len(digests) > _MAX_MANIFESTS:
                    raise InvalidManifestError(
                        f"the index {index.digest} nests deeper than {_MAX_INDEX_DEPTH} or holds "
                        f"more than {_MAX_MANIFESTS} manifests"
                    )
                read = do_each(pool, fetch, digests, stop=self._stop)
                children.update(zip(digests, read, strict=True))
                nested = [child for child in read if isinstance(child, ImageIndex)]
                pending = [
                    grandchild
                    for child in nested
                    for grandchild in _listed(child, only_indexes=only_indexes)
                ]
        return children


def _listed(index: ImageIndex, *, only_indexes: bool) -> Sequence[Descriptor]:
    return nested_indexes(index) if only_indexes else index.manifests


def _images(entries: Iterable[Entry]) -> PlatformDigests:
    """List images with their platforms; attestations, which run nowhere, are left out."""
    return tuple(
        (entry.platform, entry.descriptor.digest)
        for entry in entries
        if entry.platform is not None and entry.platform.is_runnable
    )
