"""Platforms: what an image runs on, as people write it and as an index lists it.

OCI image index specification 1.1, "platform" of a descriptor; containerd's normalisation of the
architecture names that kernels and distributions use.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from replicator.errors import RequestError

_COMPONENT: Final = re.compile(r"[A-Za-z0-9_.-]+")
#: (architecture, variant) by the names that other systems use; a variant given wins.
_ARCHITECTURES: Final = {
    "aarch64": ("arm64", ""),
    "armel": ("arm", "v6"),
    "armhf": ("arm", "v7"),
    "i386": ("386", ""),
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
}
_OPERATING_SYSTEMS: Final = {"macos": "darwin"}
#: The variant that an architecture without one has, and that is never written.
_IMPLIED_VARIANTS: Final = {"arm64": "v8", "amd64": "v1"}


@dataclass(frozen=True, slots=True)
class Platform:
    """An operating system and architecture, normalised.

    `variant` is "" where the architecture implies it: ``arm64/v8`` is ``arm64``; ``arm`` alone is
    ``arm/v7``.
    """

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        os: str,
        architecture: str,
        variant: str = "",
        *,
        os_version: str = "",
        os_features: tuple[str, ...] = (),
    ) -> Platform:
        """Make a platform of names as they come, in their normal form."""
        os, architecture, variant = os.lower(), architecture.lower(), variant.lower()
        architecture, implied = _ARCHITECTURES.get(architecture, (architecture, ""))
        variant = variant or implied
        if architecture == "arm":
            variant = variant or "v7"
            variant = f"v{variant}" if variant.isdigit() else variant
        if architecture == "arm64" and variant == "8":
            variant = "v8"
        if variant == _IMPLIED_VARIANTS.get(architecture):
            variant = ""
        os = _OPERATING_SYSTEMS.get(os, os)
        return cls(os, architecture, variant, os_version, os_features)

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Read ``os/arch``, ``os/arch/variant`` or, for Linux, ``arch`` alone.

        Raises
        ------
        RequestError
            Another form.
        """
        parts = text.strip().split("/")
        if not all(_COMPONENT.fullmatch(part) for part in parts) or len(parts) > 3:
            raise RequestError(
                f"{text[:80]!r} is not a platform; one looks like linux/amd64 or linux/arm/v7"
            )
        if len(parts) == 1:
            parts.insert(0, "linux")
        return cls.of(*parts)

    @property
    def label(self) -> str:
        """The architecture with its variant in one word, as in ``arm64v8`` and ``armv7``."""
        return self.architecture + self.variant

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))
