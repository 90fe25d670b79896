"""The IDs of mirrors.

This module imports only the standard library: the failure responder uses it too.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

MIRROR_TYPE: Final = "Custom::ECRImageMirror"


def mirror_id(event: Mapping[str, Any]) -> str:
    """Return the ID of a mirror: the same for every event of its resource."""
    name = f"{event['StackId']}\n{event['LogicalResourceId']}"
    return hashlib.sha256(name.encode(errors="backslashreplace")).hexdigest()[:32]
