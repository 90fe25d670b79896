"""How kinds of registries differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ecr_image_replicator.registry.rate_limiter import RateLimiter


class RegistryQuirks(NamedTuple):
    """How a kind of registry differs from the common ground of the specification.

    Attributes
    ----------
    probes
        Whether blobs are looked for by mounting them from the repository itself. Where not,
        `RegistryDestination.needs_existence_check` says whether a HEAD looks for each.
    mounts
        Whether blobs may be mounted from other repositories of the registry.
    manifest_rate, upload_rate
        For manifests, and for opening and closing uploads; None for no limit.
    """

    probes: bool = True
    mounts: bool = True
    manifest_rate: RateLimiter | None = None
    upload_rate: RateLimiter | None = None
