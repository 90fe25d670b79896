"""Indexes that the tests push to the sources."""

from __future__ import annotations

from local.images import Image, Index, build_image, build_index, build_layer

AMD64, ARM64 = "linux/amd64", "linux/arm64/v8"


def build_platforms(seed: int, *platforms: str) -> Index:
    """Return an index with an image for each platform."""
    return build_index(
        [
            build_image([build_layer(4096, seed=seed + number)], platform)
            for number, platform in enumerate(platforms)
        ]
    )


def build_two_platforms(seed: int) -> Index:
    """Return an index for linux/amd64 and linux/arm64."""
    return build_platforms(seed, AMD64, ARM64)


def digest_of(index: Index, platform: str) -> str:
    """Return the digest of the image of a platform."""
    (digest,) = (
        image.digest
        for image in index.images
        if isinstance(image, Image) and image.platform == platform
    )
    return str(digest)
