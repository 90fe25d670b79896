"""Checks of the construct's options, so that mistakes fail the synthesis and not the deployment."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import aws_cdk as cdk

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_RETRY_KEYS: Final = frozenset({"numAttempts", "baseDelay", "maxDelay"})
_REPOSITORY_KEYS: Final = frozenset(
    {
        "ImageTagMutability",
        "ImageTagMutabilityExclusionFilters",
        "ScanOnPush",
        "EncryptionType",
        "KmsKey",
        "LifecyclePolicy",
        "RepositoryPolicy",
        "Tags",
    }
)


def check_strings(name: str, value: Sequence[str] | None) -> None:
    """Reject a string where a list of strings is expected.

    Raises
    ------
    ValueError
        The message names the option.
    """
    if isinstance(value, str):
        raise ValueError(
            f"invalid {name}: expected a list of strings, got the string {value!r}. "
            f"Use [{value!r}]."
        )


def check_choice(name: str, value: object, choices: Collection[object]) -> None:
    """Reject a value that is not one of the choices.

    Raises
    ------
    ValueError
        The message names the option and the choices.
    """
    if value is not None and value not in choices:
        listed = ", ".join(map(repr, choices))
        raise ValueError(f"invalid {name}: {value!r} is not one of {listed}.")


def check_keys(name: str, value: Mapping[str, Any] | None, known: Collection[str]) -> None:
    """Reject unknown keys of a map.

    Raises
    ------
    ValueError
        The message names the option and the key.
    """
    for key in value or ():
        if key not in known:
            raise ValueError(
                f"invalid {name}: unknown key {key!r}. Use {', '.join(sorted(known))}."
            )


def check_tags(name: str, tags: Collection[str]) -> None:
    """Reject texts that cannot be tags; tokens are checked at deployment.

    Raises
    ------
    ValueError
        The message names the option and the tag.
    """
    for tag in tags:
        if not cdk.Token.is_unresolved(tag) and not _TAG.fullmatch(tag):
            raise ValueError(f"invalid {name}: {tag!r} is not a tag.")


def check_retries(retry_configs: Mapping[str, float] | None) -> None:
    """Reject unknown keys of ``retry_configs``."""
    check_keys("retry_configs", retry_configs, _RETRY_KEYS)


def check_repository(create_repository: bool | Mapping[str, Any] | None) -> None:
    """Reject unknown keys of ``create_repository``."""
    if not isinstance(create_repository, bool):
        check_keys("create_repository", create_repository, _REPOSITORY_KEYS)


def check_platforms(
    image_arch: Sequence[str] | None,
    copy_image_index: bool | None,
    arch_image_tags: Mapping[str, str] | None,
    platforms: Sequence[str] | None,
) -> None:
    """Reject selections of platforms that contradict each other.

    Raises
    ------
    ValueError
        The message names the options.
    """
    check_strings("image_arch", image_arch)
    check_strings("platforms", platforms)
    if image_arch and copy_image_index:
        raise ValueError("image_arch and copy_image_index cannot be combined.")
    if image_arch is not None and len(image_arch) != 1:
        raise ValueError(f"image_arch has {len(image_arch)} elements. Use platforms for several.")
    if image_arch and platforms:
        raise ValueError("image_arch and platforms cannot be combined.")
    if platforms and len(platforms) > 1 and "all" in platforms:
        raise ValueError("platforms: 'all' cannot be combined with other platforms.")
    if arch_image_tags and not (copy_image_index or platforms):
        raise ValueError("arch_image_tags needs an index. Set copy_image_index or platforms.")
