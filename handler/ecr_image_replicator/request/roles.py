"""The role that one side of a replication is read or written as."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class AssumedRole:
    """A role of one side; the external id is "" for none."""

    arn: str
    external_id: str = field(default="", repr=False)
