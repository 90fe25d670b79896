"""Images made to order, for the demo, the tests and the benchmarks.

Reading order: `layers` builds tar archives, `manifests` puts them into images, indexes and
artifacts, `pushing` brings those to a registry, `placing` puts them there without a request. Equal
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
