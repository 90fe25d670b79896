"""Builders of images for the demo, the tests and the benchmarks.

Reading order: `layers` builds tar archives, `manifests` combines them to images, indexes and
artifacts, `pushing` pushes those to a registry, `placing` writes them to its store directly. Equal
arguments give equal bytes.
"""

from local.images.layers import Compression, Layer, build_layer
from local.images.manifests import (
    Content,
    Format,
    Image,
    Index,
    build_artifact,
    build_image,
    build_index,
)
from local.images.placing import place
from local.images.pushing import PushError, push

__all__ = [
    "Compression",
    "Content",
    "Format",
    "Image",
    "Index",
    "Layer",
    "PushError",
    "build_artifact",
    "build_image",
    "build_index",
    "build_layer",
    "place",
    "push",
]
