"""Reading of the requested content: an image, or an index and everything below it."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from ecr_image_replicator.copy.parallel import do_each
from ecr_image_replicator.copy.selection import (
    choose_entry,
    describe_platform,
    describe_platforms,
    find_platform,
    list_entries,
    nested_indexes,
    with_artifacts,
)
from ecr_image_replicator.copy.subset import make_subset
from ecr_image_replicator.errors import (
    ContentError,
    InvalidManifestError,
    PlatformNotFoundError,
    RegistryError,
    RequestError,
    Setting,
    TransientError,
)
from ecr_image_replicator.model.conversion import convert_content
from ecr_image_replicator.model.manifests import ImageIndex, ImageManifest
from ecr_image_replicator.model.references import ImageReference
from ecr_image_replicator.request.platform_choice import platforms_of_index

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ecr_image_replicator.copy.cache import CachingSource
    from ecr_image_replicator.copy.selection import Entry
    from ecr_image_replicator.model.digests import Digest
    from ecr_image_replicator.model.manifests import Descriptor, Manifest
    from ecr_image_replicator.model.platforms import Platform
    from ecr_image_replicator.request.parsing import ReplicationRequest

_LOGGER: Final = logging.getLogger(__name__)
#: Nobody is known to nest indexes deeper.
_MAX_INDEX_DEPTH: Final = 4
_MAX_MANIFESTS: Final = 1000
#: Of all manifests in memory; the parsed documents take several times as much.
_MAX_MANIFESTS_BYTES: Final = 16 * 1024 * 1024

PlatformDigests = tuple[tuple["Platform", "Digest"], ...]


class Content(NamedTuple):
    """The content that the tags will point at.

    Attributes
    ----------
    named
        The manifest of the source's reference: the root, or the index that it was chosen from.
    root
        The image or the index that is copied.
    platforms
        The platform and digest of each image; empty when it is not known yet.
    is_made
        Whether the root was made here, and is not at the source.
    children
        The manifests below the root that were made here, by digest.
    present
        Blobs that the destination is known to have.
    """

    named: Manifest
    root: Manifest
    platforms: PlatformDigests
    is_made: bool = False
    children: Mapping[Digest, Manifest] = MappingProxyType({})
    present: tuple[Descriptor, ...] = ()


class ContentReader:
    """Reads the requested content from the source.

    Parameters
    ----------
    request
        Chooses the platforms.
    source
        The source of the image.
    default_platforms
        Copied from an index when the request chooses none; empty for the whole index.
    streams
        The number of parallel requests.
    stop
        Ends the other requests when one fails.
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
        """Read the manifest of the source's reference, and choose platforms from it.

        Manifests below an index are read only if the choice needs them.

        Raises
        ------
        PlatformNotFoundError
            A requested platform does not exist.
        ReplicationError
            A manifest or config cannot be read.
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
        return content._replace(
            root=root,
            platforms=tuple(
                (platform, converted.digests.get(digest, root.digest))
                for platform, digest in content.platforms
            ),
            is_made=True,
            children=converted.children,
        )

    def read_children(self, root: Manifest) -> dict[Digest, Manifest]:
        """Read every manifest below an index, each once, in parallel."""
        return self._read_below(root, only_indexes=False) if isinstance(root, ImageIndex) else {}

    def fetch(self, digest: Digest) -> Manifest:
        """Read a manifest of the source, from the cache if possible."""
        return self._source.fetch_manifest(digest)

    def takes_as_is(self, manifest: Manifest) -> bool:
        """Return whether a manifest of the source is copied whole and unconverted."""
        if self._request.format is not None:
            return False  # only reading it and its children tells whether it has the format
        if isinstance(manifest, ImageManifest):
            return not self._request.platforms
        return not self._wanted

    def platforms_at_hand(self, manifest: Manifest) -> PlatformDigests:
        """Return the platforms of a manifest; only nested indexes need requests."""
        if isinstance(manifest, ImageIndex):
            return _images(self._entries(manifest))
        platform = self._source.known_platform(manifest)
        return ((platform, manifest.digest),) if platform else ()

    def platforms_of(self, content: Content) -> PlatformDigests:
        """Return the platforms of content; reads the config of a single image if necessary."""
        if content.platforms or not isinstance(content.root, ImageManifest):
            return content.platforms
        try:
            platform = self._source.fetch_platform(content.root)
        except (ContentError, RegistryError, TransientError) as error:
            # the tags point at the content already
            _LOGGER.warning("cannot read the platform of the image: %s", error)
            return ()
        return ((platform, content.root.digest),) if platform else ()

    def check_single(self, there: Platform | None) -> None:
        """Check that a single image satisfies the request.

        Raises
        ------
        PlatformNotFoundError
            It has another platform than requested.
        RequestError
            The request has tags for the images of an index.
        """
        for each in self._request.platforms:
            if find_platform([there], each) is None:
                found = f"for {describe_platform(there)}" if there else "without a platform"
                raise PlatformNotFoundError(
                    f"platform {each.full_name} not found in {self._request.source}: it is a "
                    f"single image {found}",
                    hint=("Remove ", self._request.platforms_setting, " or choose another image."),
                )
        if self._request.arch_tags:
            raise RequestError(
                "invalid ",
                Setting.ARCHITECTURE_TAGS,
                f": {self._request.source} is a single image, not an index",
                hint=("Use ", Setting.DESTINATION_TAGS, "."),
            )

    def arch_digests(self, content: Content) -> dict[str, Digest]:
        """Return the digest of each tag for a platform.

        Raises
        ------
        PlatformNotFoundError
            The platform of a tag is not copied.
        """
        digests: dict[str, Digest] = {}
        for wanted, tag in self._request.arch_tags.items():
            position = find_platform([platform for platform, _ in content.platforms], wanted)
            if position is None:
                copied = describe_platforms(platform for platform, _ in content.platforms)
                raise PlatformNotFoundError(
                    f"platform {wanted.full_name} of ",
                    Setting.ARCHITECTURE_TAGS,
                    f" not found in the content copied from {self._request.source}: it has "
                    f"{copied or 'none'}",
                    hint=("Add it to ", Setting.PLATFORMS, "."),
                )
            digests[tag] = content.platforms[position][1]
        return digests

    @property
    def _wanted(self) -> Sequence[Platform]:
        """The platforms to copy from an index; empty for all of it."""
        return platforms_of_index(self._request, self._default_platforms)

    def _choose(self, index: ImageIndex, wanted: Sequence[Platform]) -> Content:
        """Choose the image of one platform, or make an index of several."""
        entries = self._entries(index)
        if any(entry.platform is None and not entry.descriptor.is_artifact for entry in entries):
            offered = [entry.image_platform for entry in entries]
            if any(find_platform(offered, each) is None for each in wanted):
                entries = self._ask_configs(entries)
        origin, setting = str(self._request.source), self._request.platforms_setting
        chosen = [choose_entry(entries, each, origin, setting) for each in wanted]
        if len(wanted) == 1:
            digest = chosen[0].descriptor.digest
            platforms = ((chosen[0].platform or wanted[0], digest),)
            return Content(index, self._source.fetch_manifest(digest), platforms)
        kept = with_artifacts(entries, chosen)
        if len(kept) == len(entries):
            return Content(index, index, _images(entries))
        source = self._request.source
        place = source.name if isinstance(source, ImageReference) else source.location
        subset = make_subset(index, kept, origin=place)
        return Content(index, subset, _images(kept), is_made=True)

    def _entries(self, index: ImageIndex) -> tuple[Entry, ...]:
        """Return the entries of an index, those of nested indexes included."""
        below = self._read_below(index, only_indexes=True) if nested_indexes(index) else {}
        nested = {digest: m for digest, m in below.items() if isinstance(m, ImageIndex)}
        return list_entries(index, nested)

    def _ask_configs(self, entries: Sequence[Entry]) -> tuple[Entry, ...]:
        """Add the platforms from images' configs where the index has none."""

        def ask(entry: Entry) -> Entry:
            if entry.platform is not None or entry.descriptor.is_artifact:
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
        lock = threading.Lock()  # of held_bytes

        def fetch(digest: Digest) -> Manifest:
            nonlocal held_bytes
            # pushed under the digest that its index names, whatever the algorithm
            child = replace(self._source.fetch_manifest(digest), digest=digest)
            with lock:
                held_bytes += len(child.content)
                is_too_much = held_bytes > _MAX_MANIFESTS_BYTES
            if is_too_much:
                raise InvalidManifestError(
                    f"invalid index {index.digest}: its manifests are larger than "
                    f"{_MAX_MANIFESTS_BYTES} bytes together"
                )
            return child

        with ThreadPoolExecutor(self._streams, thread_name_prefix="children") as pool:
            while pending:
                depth += 1
                digests = sorted({child.digest for child in pending} - children.keys())
                if depth > _MAX_INDEX_DEPTH or len(children) + len(digests) > _MAX_MANIFESTS:
                    raise InvalidManifestError(
                        f"invalid index {index.digest}: it nests deeper than {_MAX_INDEX_DEPTH} "
                        f"levels or has more than {_MAX_MANIFESTS} manifests"
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
    """Return images with their platforms, without artifacts."""
    return tuple(
        (entry.image_platform, entry.descriptor.digest)
        for entry in entries
        if entry.image_platform is not None and entry.image_platform.is_runnable
    )
