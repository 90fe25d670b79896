"""Platforms: what an image runs on, as people write it and as an index lists it.

OCI image index specification 1.1, "platform" of a descriptor; containerd's normalisation of the
architecture names that kernels and distributions use, its way of writing versions and features of
an operating system, and its order of preference among variants.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from ecr_image_replicator.errors import RequestError

_COMPONENT: Final = re.compile(r"[A-Za-z0-9_.-]+")
#: ``windows(10.0.17763+win32k)``: a version and features of the operating system.
_OPERATING_SYSTEM: Final = re.compile(
    r"([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.-]*)((?:\+[A-Za-z0-9_.-]+)*)\))?"
)
_NUMBERED_VARIANT: Final = re.compile(r"v([0-9]{1,2})(?:\.([0-9]{1,2}))?")
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

        The operating system may name a version and features: ``windows(10.0.17763)/amd64``,
        ``windows(10.0.17763+win32k)/amd64``.

        Raises
        ------
        RequestError
            Another form.
        """
        parts = text.strip().split("/")
        if len(parts) == 1:
            parts.insert(0, "linux")
        system = _OPERATING_SYSTEM.fullmatch(parts[0])
        rest = parts[1:]
        if system is None or len(rest) > 2 or not all(map(_COMPONENT.fullmatch, rest)):
            raise RequestError(
                f"{text[:80]!r} is not a platform; one looks like linux/amd64, linux/arm/v7 or "
                "windows(10.0.17763)/amd64"
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
        """The variants whose images run on this one, in normal form, the best first.

        Newer variants run older ones' images: ``arm/v7`` runs v6 and v5, ``amd64/v3`` runs v2 and
        v1, ``arm64/v9.x`` runs v9 down to v9.0 and v8 down from v8.(x+5). On other architectures
        an image without a variant runs on all.
        """
        if not self.has_ordered_variants:
            return tuple(dict.fromkeys((self.variant, "")))
        implied = _IMPLIED_VARIANTS.get(self.architecture)
        number = _NUMBERED_VARIANT.fullmatch(self.variant or implied or "")
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
        """Whether there is an order among the variants of the architecture."""
        return self.architecture in {"amd64", "arm", "arm64"}

    def admits(self, offered: Platform) -> bool:
        """Tell whether an image for another platform fits, variants aside.

        A version asked for is met by itself and by its revisions (``10.0.17763`` by
        ``10.0.17763.2114``); features asked for must be among those offered.
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
        """False for what is only said of attestations, ``unknown/unknown``."""
        return self.os != "unknown"

    @property
    def label(self) -> str:
        """The architecture with its variant in one word, as in ``arm64v8`` and ``armv7``."""
        return self.architecture + self.variant

    @property
    def full_name(self) -> str:
        """With version and features of the operating system, as `parse` reads them."""
        details = "".join((self.os_version, *(f"+{feature}" for feature in self.os_features)))
        system = f"{self.os}({details})" if details else self.os
        return "/".join(filter(None, (system, self.architecture, self.variant)))

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))


def is_all(name: str) -> bool:
    """Tell whether a name in a list of platforms stands for every one."""
    return name.lower() == "all"
