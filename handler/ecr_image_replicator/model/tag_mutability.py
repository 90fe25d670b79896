"""Tag mutability of an ECR repository.

Amazon ECR user guide, "Preventing image tags from being overwritten".
"""

from __future__ import annotations

import fnmatch
from typing import Final, NamedTuple

_IMMUTABLE_KINDS: Final = frozenset({"IMMUTABLE", "IMMUTABLE_WITH_EXCLUSION"})
_WITH_EXCLUSION: Final = "_WITH_EXCLUSION"


class TagMutability(NamedTuple):
    """The tag mutability setting of a repository.

    Attributes
    ----------
    kind
        MUTABLE, IMMUTABLE, MUTABLE_WITH_EXCLUSION or IMMUTABLE_WITH_EXCLUSION.
    exclusions
        Wildcards of the tags that have the opposite mutability; ``*`` matches any characters. There
        is no other special character: ECR accepts letters, digits, ``.``, ``_``, ``*`` and ``-``.
    """

    kind: str = "MUTABLE"
    exclusions: tuple[str, ...] = ()

    def is_immutable(self, tag: str) -> bool:
        """Return whether an existing tag cannot be moved."""
        excluded = self.kind.endswith(_WITH_EXCLUSION) and any(
            fnmatch.fnmatchcase(tag, wildcard) for wildcard in self.exclusions
        )
        return (self.kind in _IMMUTABLE_KINDS) is not excluded
