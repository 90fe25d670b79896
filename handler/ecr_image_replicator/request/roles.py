"""The IAM role of one endpoint."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class AssumedRole:
    """A role to assume for one endpoint; the external ID is "" for none."""

    arn: str
    external_id: str = field(default="", repr=False)
