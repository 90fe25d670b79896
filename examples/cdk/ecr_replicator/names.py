"""Texts with CDK tokens, made readable for regular expressions.

While the app runs, ``repository.repository_uri`` is an opaque token, which becomes
``{"Fn::Join": …}`` in the template. Here each part that only CloudFormation knows is replaced by
a character of Unicode's private use area, so that a pattern sees the literal parts around it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import aws_cdk as cdk

if TYPE_CHECKING:
    from constructs import IConstruct

_FIRST_MARK: Final = 0xE000
_REFERENCE: Final = re.compile(r"\$\{([^!][^}]*)\}")


@dataclass(frozen=True, slots=True)
class Name:
    """A text, and the values of its private-use characters."""

    text: str
    unknown: tuple[Any, ...]

    def token(self, part: str) -> str:
        """Return a part of the text for the CDK, with its tokens restored."""
        return "".join(
            cdk.Token.as_string(self.unknown[ord(character) - _FIRST_MARK])
            if 0 <= ord(character) - _FIRST_MARK < len(self.unknown)
            else character
            for character in part
        )


def read_name(scope: IConstruct, text: str) -> Name:
    """Resolve a text that may contain tokens."""
    unknown: list[Any] = []

    def flatten(part: Any) -> str:
        if isinstance(part, str):
            return part
        join = part.get("Fn::Join") if isinstance(part, dict) else None
        if join is not None and join[0] == "" and isinstance(join[1], list):
            return "".join(map(flatten, join[1]))
        substituted = part.get("Fn::Sub") if isinstance(part, dict) else None
        if isinstance(substituted, str):
            return _REFERENCE.sub(lambda found: flatten(_reference(found[1])), substituted)
        unknown.append(part)
        return chr(_FIRST_MARK + len(unknown) - 1)

    flat = flatten(cdk.Stack.of(scope).resolve(text))
    return Name(flat, tuple(unknown))


def _reference(name: str) -> dict[str, Any]:
    resource, dot, attribute = name.partition(".")
    return {"Fn::GetAtt": [resource, attribute]} if dot else {"Ref": name}
