"""Building an index of a subset of platforms; pure, no I/O.

Equal choices from equal indexes give equal bytes, so that the next copy is unchanged.
OCI image specification 1.1, "Image Index" and "Annotations"; Docker manifest list.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from ecr_image_replicator.model.manifests import OCI_INDEX, parse_json_object, parse_manifest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ecr_image_replicator.copy.selection import Entry
    from ecr_image_replicator.model.manifests import ImageIndex, Manifest
    from ecr_image_replicator.model.platforms import Platform

#: Names the index that a subset was made of: ``host/repository@digest``.
SOURCE_ANNOTATION: Final = "ecr-image-replicator.source"


def make_subset(index: ImageIndex, entries: Sequence[Entry], *, origin: str) -> Manifest:
    """Build an index of some entries of another.

    The source's media type, annotations and descriptors are kept. ``subject`` is dropped: a subset
    is not a referrer. An OCI index gets an annotation that names its source; a Docker list has no
    annotations.

    Parameters
    ----------
    index
        The source's index.
    entries
        The entries, in order; those of nested indexes become direct entries.
    origin
        ``host/repository``, for the annotation.
    """
    document = parse_json_object(index.content, "the index")
    document.pop("subject", None)
    document["mediaType"] = index.media_type
    parents = {entry.index.digest: entry.index for entry in entries}
    listed = {
        digest: parse_json_object(parent.content, "the index")["manifests"]
        for digest, parent in parents.items()
    }
    document["manifests"] = [
        _descriptor(listed[entry.index.digest][entry.position], entry) for entry in entries
    ]
    if index.media_type == OCI_INDEX:
        annotations = document.get("annotations")
        document["annotations"] = {
            **(annotations if isinstance(annotations, dict) else {}),
            SOURCE_ANNOTATION: f"{origin}@{index.digest}",
        }
    content = json.dumps(document, separators=(",", ":")).encode()
    return parse_manifest(content, index.media_type)


def _descriptor(listed: dict[str, Any], entry: Entry) -> dict[str, Any]:
    """Return a descriptor, with the platform if only the config has it."""
    descriptor = dict(listed)
    if entry.descriptor.platform is None and entry.platform is not None:
        descriptor["platform"] = _platform(entry.platform)
    return descriptor


def _platform(platform: Platform) -> dict[str, Any]:
    fields = {
        "architecture": platform.architecture,
        "os": platform.os,
        "os.version": platform.os_version,
        "os.features": list(platform.os_features),
        "variant": platform.variant,
    }
    return {name: value for name, value in fields.items() if value}
