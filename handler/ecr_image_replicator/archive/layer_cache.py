"""The blobs that this process has proven to hold an archive's layers."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ecr_image_replicator.archive.compression import Compression
    from ecr_image_replicator.model.digests import Digest
    from ecr_image_replicator.model.manifests import Descriptor

_MAX_LAYERS: Final = 10_000


class LayerCache:
    """Blobs by repository and diff_id, each made or decompressed and compared by this process.

    A failed deployment's next attempt finds its layers here before any tag refers to them. The
    least recently added entry is dropped first.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blobs: OrderedDict[tuple[str, Digest, Compression], Descriptor] = OrderedDict()

    def find(self, repository: str, diff_id: Digest, compression: Compression) -> Descriptor | None:
        """Return the blob of a layer; None when no blob is known."""
        with self._lock:
            return self._blobs.get((repository, diff_id, compression))

    def keep(
        self, repository: str, diff_id: Digest, compression: Compression, blob: Descriptor
    ) -> None:
        """Add a blob that was proven to hold the layer."""
        with self._lock:
            self._blobs[repository, diff_id, compression] = blob
            if len(self._blobs) > _MAX_LAYERS:
                self._blobs.popitem(last=False)
