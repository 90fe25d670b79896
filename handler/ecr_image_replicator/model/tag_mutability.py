"""Which tags of an ECR repository may be moved; pure.

Amazon ECR user guide, "Preventing image tags from being overwritten".
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from typing import Final

_IMMUTABLE_KINDS: Final = frozenset({"IMMUTABLE", "IMMUTABLE_WITH_EXCLUSION"})
_WITH_EXCLUSION: Final = "_WITH_EXCLUSION"


@dataclass(frozen=True, slots=True)
class TagMutability:
    """A repository's rule.

    Attributes
    ----------
    kind
        MUTABLE, IMMUTABLE, MUTABLE_WITH_EXCLUSION or IMMUTABLE_WITH_EXCLUSION.
    exclusions
        Wildcards of the tags that the rule is turned round for; ``*`` is any characters. They
        hold no other special character: ECR takes letters, digits, ``.``, ``_``, ``*`` and ``-``.
    """

    kind: str = "MUTABLE"
    exclusions: tuple[str, ...] = ()

    def is_immutable(self, tag: str) -> bool:
        """Tell whether a tag that is there must stay where it is."""
        excluded = self.kind.endswith(_WITH_EXCLUSION) and any(
            fnmatch.fnmatchcase(tag, wildcard) for wildcard in self.exclusions
        )
        return (self.kind in _IMMUTABLE_KINDS) is not excluded
