"""Platforms: operating system, architecture and variant of an image.

OCI image index specification 1.1, "platform" of a descriptor. The normalisation of architecture
names, the notation of an operating system's version and features, and the order of variants are
containerd's.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ecr_image_replicator.errors import RequestError

_COMPONENT: Final = re.compile(r"[A-Za-z0-9_.-]+")
#: ``windows(10.0.17763+win32k)``: the version and features of the operating system.
_OPERATING_SYSTEM: Final = r"([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.-]*)((?:\+[A-Za-z0-9_.-]+)*)\))?"
_NUMBERED_VARIANT: Final = r"v([0-9]{1,2})(?:\.([0-9]{1,2}))?"
#: (architecture, variant) by alias; an explicit variant takes precedence.
_ARCHITECTURES: Final = {
    "aarch64": ("arm64", ""),
    "armel": ("arm", "v6"),
    "armhf": ("arm", "v7"),
    "i386": ("386", ""),
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
}
#: Old images for Linux have none.
_OPERATING_SYSTEMS: Final = {"": "linux", "macos": "darwin"}
#: The variant that an architecture implies; it is never written.
_IMPLIED_VARIANTS: Final = {"arm64": "v8", "amd64": "v1"}


#: Names that alone are an operating system without an architecture.
_KNOWN_SYSTEMS: Final = frozenset({"linux", "windows", "darwin", "macos", "freebsd"})


class Platform(NamedTuple):
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
        """Return a platform with normalised names."""
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
        """Parse ``os/arch``, ``os/arch/variant`` or, for Linux, ``arch`` alone.

        The operating system may have a version and features: ``windows(10.0.17763)/amd64``,
        ``windows(10.0.17763+win32k)/amd64``.

        Raises
        ------
        RequestError
            The text is malformed.
        """
        parts = text.strip().split("/")
        if len(parts) == 1 and parts[0].lower() not in _KNOWN_SYSTEMS:
            parts.insert(0, "linux")
        system = re.fullmatch(_OPERATING_SYSTEM, parts[0])
        rest = parts[1:]
        if system is None or not 1 <= len(rest) <= 2 or not all(map(_COMPONENT.fullmatch, rest)):
            raise RequestError(
                f"invalid platform {text[:80]!r}",
                hint="Use os/arch or os/arch/variant, such as linux/amd64 or linux/arm/v7.",
            )
        name, version, features = system.groups()
        return cls.of(
            name,
            *rest,
            os_version=version or "",
            os_features=tuple(filter(None, (features or "").split("+"))),
        )

    @property
    def variants(self) -> tuple[str, ...]:
        """The variants whose images run on this platform, in normal form, the best first.

        Newer variants run the images of older ones: ``arm/v7`` runs v6 and v5, ``amd64/v3`` runs v2
        and v1, ``arm64/v9.x`` runs v9 down to v9.0 and v8 down from v8.(x+5). On other
        architectures an image without a variant runs on all.
        """
        if not self.has_ordered_variants:
            return tuple(dict.fromkeys((self.variant, "")))
        implied = _IMPLIED_VARIANTS.get(self.architecture)
        number = re.fullmatch(_NUMBERED_VARIANT, self.variant or implied or "")
        if number is None:
            return (self.variant,)
        major, minor = int(number[1]), int(number[2] or 0)
        older: list[str] = []
        if self.architecture == "amd64":
            older = [f"v{n}" for n in range(major - 1, 0, -1)]
        elif self.architecture == "arm":
            older = [f"v{n}" for n in range(major - 1, 4, -1)]
        elif self.architecture == "arm64" and major in {8, 9}:
            # Armv9.x has what Armv8.(x+5) has, and there is none past Armv8.9
            newest_v8 = min(minor + 5, 9) if major == 9 else minor
            older = [f"v9.{n}" for n in range(minor, -1, -1)] if major == 9 else []
            older += [f"v8.{n}" for n in range(newest_v8, -1, -1)]
        normal = (each.removesuffix(".0") for each in older)
        return tuple(
            dict.fromkeys((self.variant, *("" if each == implied else each for each in normal)))
        )

    @property
    def has_ordered_variants(self) -> bool:
        """Whether the architecture's variants have an order."""
        return self.architecture in {"amd64", "arm", "arm64"}

    def admits(self, offered: Platform) -> bool:
        """Return whether an image for another platform matches, without regard to variants.

        A version matches itself and its revisions (``10.0.17763`` matches ``10.0.17763.2114``); all
        features must be offered.
        """
        return (
            (self.os, self.architecture) == (offered.os, offered.architecture)
            and f"{offered.os_version}.".startswith(
                f"{self.os_version}." if self.os_version else ""
            )
            and {*self.os_features} <= {*offered.os_features}
        )

    @property
    def is_runnable(self) -> bool:
        """False for ``unknown/unknown``, the platform of attestations."""
        return self.os != "unknown"

    @property
    def label(self) -> str:
        """The architecture and its variant as one word: ``amd64``, ``armv7``."""
        return self.architecture + self.variant

    @property
    def full_name(self) -> str:
        """The name that `parse` reads, with the operating system's version and features."""
        details = "".join((self.os_version, *(f"+{feature}" for feature in self.os_features)))
        system = f"{self.os}({details})" if details else self.os
        return "/".join(filter(None, (system, self.architecture, self.variant)))

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))


def is_all(name: str) -> bool:
    """Return whether a name in a list of platforms means every platform."""
    return name.lower() == "all"
