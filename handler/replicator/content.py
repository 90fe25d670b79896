"""Which content a request means: the image, or the index and everything below it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from replicator.errors import InvalidManifestError, PlatformNotFoundError
from replicator.manifests import ImageIndex, ImageManifest
from replicator.parallel import do_each
from replicator.selection import choose_child

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from replicator.caching import CachingSource
    from replicator.digests import Digest
    from replicator.manifests import Descriptor, Manifest
    from replicator.platforms import Platform
    from replicator.request import ReplicationRequest

#: An index below an index below an index is the deepest that anybody builds.
_MAX_INDEX_DEPTH: Final = 4
_MAX_MANIFESTS: Final = 1000
#: Of all that are held at a time; their parsed views take several times as much.
_MAX_MANIFESTS_BYTES: Final = 16 * 1024 * 1024

PlatformDigests = tuple[tuple["Platform", "Digest"], ...]


@dataclass(frozen=True, slots=True)
class Content:
    """What the tags are to point at, and all that is below it.

    Attributes
    ----------
    root
        The image or the index.
    children
        Every manifest below it.
    platforms
        Of each image, with its manifest's digest; empty when that is not known yet.
    """

    root: Manifest
    children: Mapping[Digest, Manifest]
    platforms: PlatformDigests


class ContentReader:
    """Reads from the source what a request means.

    Parameters
    ----------
    request
        Chooses the platforms.
    source
        Where the image is.
    default_platform
        Taken from an index when the request chooses none; None for the whole index.
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
        default_platform: Platform | None,
        streams: int,
        stop: Callable[[], None] = lambda: None,
    ) -> None:
        self._request = request
        self._source = source
        self._default_platform = default_platform
        self._streams = streams
        self._stop = stop

    def read(self, pinned: Digest | None) -> Content:
        """Read the manifest that the source's reference names, and those below it that count.

        Raises
        ------
        PlatformNotFoundError
            A platform that was asked for is not there.
        ReplicationError
            Something cannot be read.
        """
        manifest = self._source.fetch_manifest(pinned)
        if isinstance(manifest, ImageManifest):
            if self._request.platforms:
                self.check_platform(self._source.find_platform(manifest))
            return Content(manifest, {}, self.platforms_at_hand(manifest))
        platform = self._platform
        if platform is None:
            return Content(manifest, self._read_children(manifest), _listed(manifest))
        child = choose_child(manifest, platform, str(self._request.source))
        chosen = self._source.fetch_manifest(child.digest)
        return Content(chosen, {}, ((child.platform or platform, child.digest),))

    def takes_as_is(self, manifest: Manifest) -> bool:
        """Tell whether a manifest of the source is copied whole, with no choice to be made."""
        if isinstance(manifest, ImageManifest):
            return not self._request.platforms
        return self._platform is None

    def platforms_at_hand(self, manifest: Manifest) -> PlatformDigests:
        """Say which platforms a manifest is for, as far as that needs no request."""
        if isinstance(manifest, ImageIndex):
            return _listed(manifest)
        platform = self._source.known_platform(manifest)
        return ((platform, manifest.digest),) if platform else ()

    def platforms_of(self, content: Content) -> PlatformDigests:
        """Say which platforms there are; a single image's config is read for it if need be."""
        if content.platforms or not isinstance(content.root, ImageManifest):
            return content.platforms
        platform = self._source.find_platform(content.root)
        return ((platform, content.root.digest),) if platform else ()

    def check_platform(self, there: Platform | None) -> None:
        """Refuse a single image of another platform than the one asked for by property."""
        if not self._request.platforms:
            return
        wanted = self._request.platforms[0]
        if there is None or (there.os, there.architecture) != (wanted.os, wanted.architecture):
            raise PlatformNotFoundError(
                f"{self._request.source} has no image for {wanted}; it is a single image "
                f"{f'for {there}' if there else 'without a platform'}"
            )

    @property
    def _platform(self) -> Platform | None:
        """The platform to take from an index; None for all of it."""
        if self._request.copies_index:
            return None
        chosen = self._request.platforms
        return chosen[0] if chosen else self._default_platform

    def _read_children(self, index: ImageIndex) -> dict[Digest, Manifest]:
        """Read every manifest below an index, each once, a level at a time in parallel."""
        children: dict[Digest, Manifest] = {}
        pending: Sequence[Descriptor] = index.manifests
        depth = held_bytes = 0

        def fetch(digest: Digest) -> Manifest:
            nonlocal held_bytes
            child = self._source.fetch_manifest(digest)
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
                digests = {child.digest for child in pending} - children.keys()
                if depth > _MAX_INDEX_DEPTH or len(children) + len(digests) > _MAX_MANIFESTS:
                    raise InvalidManifestError(
                        f"the index {index.digest} nests deeper than {_MAX_INDEX_DEPTH} or holds "
                        f"more than {_MAX_MANIFESTS} manifests"
                    )
                read = do_each(pool, fetch, sorted(digests), stop=self._stop)
                children.update((child.digest, child) for child in read)
                nested = [child for child in read if isinstance(child, ImageIndex)]
                pending = [grandchild for child in nested for grandchild in child.manifests]
        return children


def _listed(index: ImageIndex) -> PlatformDigests:
    """List an index's platforms; attestations, which run nowhere, are left out."""
    return tuple(
        (child.platform, child.digest)
        for child in index.manifests
        if child.platform is not None and child.platform.os != "unknown"
    )
