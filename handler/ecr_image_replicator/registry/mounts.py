"""What is known about the mounts of a registry."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ecr_image_replicator.model.manifests import Descriptor

#: Registries, and repositories of one registry, that are remembered.
_MAX_REMEMBERED: Final = 256
#: Probes of a repository without a result (those of two images) after which a blob is mounted to
#: find out. Earlier, the mount costs more than it saves: an update is one image after another.
_PROBES_BEFORE_MOUNT: Final = 4


class SelfMount(Enum):
    """Whether a mount from the repository itself tells if a blob is there."""

    UNKNOWN = "unknown"
    HONOURED = "honoured"
    IGNORED = "ignored"


@dataclass(slots=True, eq=False, repr=False)
class _Repository:
    """What was sent to a repository while the registry's support is unknown."""

    probes: int = 0
    pushed: Descriptor | None = None


class MountSupport:
    """What is known about the mounts of one registry, shared by all its repositories.

    A blob that was pushed is kept for each repository until `state` is known: mounting it tells.
    """

    def __init__(self) -> None:
        self.state = SelfMount.UNKNOWN
        self._rejected_images = 0
        self._lock = threading.Lock()
        self._repositories: OrderedDict[str, _Repository] = OrderedDict()

    def add_probe(self, repository: str) -> None:
        """Count a probe that is sent to a repository."""
        with self._lock:
            self._find(repository).probes += 1

    def add_pushed(self, repository: str, blob: Descriptor) -> None:
        """Remember a blob that a repository has, while the state is unknown."""
        with self._lock:
            if self.state is SelfMount.UNKNOWN:
                self._find(repository).pushed = blob
            else:
                self._repositories.clear()

    def add_rejection(self) -> None:
        """Count an image with a rejected mount; one is not enough if mounts were honoured before.

        A registry that honours mounts of known blobs only may reject the others.
        """
        with self._lock:
            self._rejected_images += 1
            if self.state is not SelfMount.HONOURED or self._rejected_images > 1:
                self.state = SelfMount.IGNORED

    def take_pushed(self, repository: str) -> Descriptor | None:
        """Return and forget a blob to find out with; None if none is known, or it is too early."""
        with self._lock:
            found = self._repositories.get(repository)
            if found is None or found.probes < _PROBES_BEFORE_MOUNT:
                return None
            del self._repositories[repository]
            return found.pushed

    def _find(self, repository: str) -> _Repository:
        found = self._repositories.setdefault(repository, _Repository())
        self._repositories.move_to_end(repository)
        if len(self._repositories) > _MAX_REMEMBERED:
            self._repositories.popitem(last=False)
        return found


class MountSupports:
    """What is known about the mounts of each registry; the least recently used is forgotten."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._registries: OrderedDict[str, MountSupport] = OrderedDict()

    def of(self, registry: str) -> MountSupport:
        """Return what is known about a registry."""
        with self._lock:
            support = self._registries.setdefault(registry, MountSupport())
            self._registries.move_to_end(registry)
            if len(self._registries) > _MAX_REMEMBERED:
                self._registries.popitem(last=False)
            return support
