"""Content that a destination reports as missing when it rejects a manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecr_image_replicator.errors import MissingContentError, Term

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ecr_image_replicator.errors import Part
    from ecr_image_replicator.model.digests import Digest
    from ecr_image_replicator.model.manifests import Descriptor, ImageIndex, ImageManifest


def missing_blobs(manifest: ImageManifest, error: MissingContentError) -> Iterable[Descriptor]:
    """Return the blobs to push again: those that the registry named, else all that are pushed.

    A foreign layer stays where it is, unless the registry names it.
    """
    blobs = {blob.digest: blob for blob in (manifest.config, *manifest.layers)}
    named = [blob for digest, blob in blobs.items() if str(digest) in error.digests]
    return named or dict.fromkeys(manifest.blobs)


def missing_children(index: ImageIndex, error: MissingContentError) -> Iterable[Digest]:
    """Return the children to push again: those that the registry named, else all."""
    children = dict.fromkeys(child.digest for child in index.manifests)
    return [digest for digest in children if str(digest) in error.digests] or children


def absent_foreign_layer(layer: Descriptor, error: MissingContentError) -> MissingContentError:
    """Return the error for a foreign layer that the destination requires and the source lacks.

    It is not read from its `urls`: whoever wrote the manifest chose them.
    """
    return _with_message(
        f"missing foreign layer {layer.digest}: the destination requires it, and the source does "
        "not have it",
        "Push the layer to the source, or copy an image without foreign layers.",
        error,
    )


def changed_layer(blob: Descriptor, made: Descriptor, error: MissingContentError) -> Exception:
    """Return the error for a missing layer whose compression gives other bytes now."""
    return _with_message(
        f"missing layer {blob.digest} at the destination: compressing it again gives {made.digest}",
        ("Remove the image that has the layer from the destination, and ", Term.RETRY, "."),
        error,
    )


def _with_message(
    message: str, hint: Part | tuple[Part, ...], error: MissingContentError
) -> MissingContentError:
    return MissingContentError(
        message,
        hint=hint,
        side=error.side,
        status=error.status,
        code=error.code,
        digests=error.digests,
    )
