"""Digests of earlier runs: known.json.

A subset of an index has a different digest than the index, so the digests of source and destination
alone do not show that nothing changed. An entry is valid only if both digests are equal to the
recorded ones.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ecr_image_replicator.errors import ContentError
from ecr_image_replicator.model.digests import Digest
from ecr_image_replicator.request.platform_choice import platforms_of_index

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ecr_image_replicator.model.platforms import Platform
    from ecr_image_replicator.request.mirror import MirrorRequest
    from ecr_image_replicator.request.parsing import ReplicationRequest

_LOGGER: Final = logging.getLogger(__name__)
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class KnownDigests:
    """The digests of a copied destination tag.

    Attributes
    ----------
    source, destination
        The digests of both tags at that time.
    options
        A fingerprint of the options that decide which content is copied.
    """

    source: Digest
    destination: Digest
    options: str


class KnownImages:
    """Digests of earlier runs, by destination tag (``host/repository:tag``)."""

    def __init__(self) -> None:
        self._images: dict[str, KnownDigests] = {}

    @classmethod
    def parse(cls, content: bytes | None) -> KnownImages:
        """Parse known.json. A missing or malformed file is empty."""
        known = cls()
        if content is None:
            return known
        try:
            document: Any = json.loads(content)
            for name, (source, destination, options) in document["Images"].items():
                digests = KnownDigests(Digest.parse(source), Digest.parse(destination), options)
                known.remember(name, digests)
        except (ValueError, TypeError, KeyError, AttributeError, ContentError, RecursionError):
            _LOGGER.warning("known digests of earlier runs are unreadable and are ignored")
            return cls()
        return known

    def render(self) -> bytes:
        """Return the content of known.json."""
        images = {
            name: [str(each.source), str(each.destination), each.options]
            for name, each in sorted(self._images.items())
        }
        return json.dumps({"Version": _VERSION, "Images": images}, indent=0).encode()

    def find(self, name: str) -> KnownDigests | None:
        """Return the digests of a destination tag, or None."""
        return self._images.get(name)

    def remember(self, name: str, digests: KnownDigests) -> None:
        """Add or replace the digests of a destination tag."""
        self._images[name] = digests

    def tags_of(self, repository: str) -> Iterator[str]:
        """Yield the known tags of a destination repository (``host/repository``)."""
        prefix = f"{repository}:"
        for name in self._images:
            if name.startswith(prefix):
                yield name.removeprefix(prefix)


class OptionFingerprints:
    """The fingerprints of a mirror's options, by destination tag.

    Images of one destination repository can have different options.
    """

    def __init__(self, mirror: MirrorRequest, default_platforms: Sequence[Platform]) -> None:
        self._of_repositories: dict[str, str] = {}
        self._of_tags: dict[tuple[str, str], str] = {}
        for entry in mirror.entries:
            options = options_fingerprint(entry.template, default_platforms)
            if entry.selection is not None:
                self._of_repositories[entry.destination_name] = options
            for _, tags in entry.images:
                self._of_tags |= {(entry.destination_name, tag): options for tag in tags}

    def find(self, repository: str, tag: str) -> str:
        """Return the fingerprint for a destination tag, "" if the mirror does not have it."""
        return self._of_tags.get((repository, tag)) or self._of_repositories.get(repository, "")


def options_fingerprint(request: ReplicationRequest, default_platforms: Sequence[Platform]) -> str:
    """Return a short hash of the options that decide which content a tag points at."""
    options = {
        "platforms": sorted(map(str, platforms_of_index(request, default_platforms))),
        "index": request.copies_index,
        "tags": {str(platform): tag for platform, tag in request.arch_tags.items()},
        "referrers": request.referrers.value,
        "format": str(request.format),
        "key": request.signature_key,
    }
    return hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()[:12]
