"""The properties that choose platforms: Platforms, ImageArch, CopyImageIndex, ArchImageTags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ecr_image_replicator.errors import RequestError, Setting
from ecr_image_replicator.model.platforms import Platform, is_all
from ecr_image_replicator.model.references import is_tag
from ecr_image_replicator.request.properties import (
    invalid,
    parse_as,
    quote,
    read_boolean,
    read_object,
    read_texts,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ecr_image_replicator.request.parsing import ReplicationRequest


def parse_platforms(properties: Mapping[str, Any]) -> tuple[tuple[Platform, ...], bool]:
    """Return the chosen platforms, and whether the whole index is copied.

    Raises
    ------
    RequestError
        A platform is malformed, or two properties contradict each other.
    """
    copies_index = read_boolean(properties, Setting.COPY_INDEX)
    names = ["all" if is_all(name) else name for name in read_texts(properties, Setting.PLATFORMS)]
    architectures = read_texts(properties, Setting.ARCHITECTURE)
    if names and architectures:
        raise _exclusive(Setting.ARCHITECTURE, Setting.PLATFORMS)
    if len(architectures) > 1:
        raise invalid(
            Setting.ARCHITECTURE,
            f"{len(architectures)} architectures, at most one is allowed",
            hint=("List several in ", Setting.PLATFORMS, "."),
        )
    if copies_index and architectures:
        raise _exclusive(Setting.ARCHITECTURE, Setting.COPY_INDEX)
    if copies_index and names and names != ["all"]:
        raise _exclusive(Setting.PLATFORMS, Setting.COPY_INDEX)
    if "all" in names:
        if len(names) > 1:
            raise invalid(
                Setting.PLATFORMS, "'all' beside other platforms", hint="Use 'all' alone."
            )
        return (), True
    setting = choosing_setting(properties)
    platforms = [parse_as(setting, Platform.parse, name) for name in names or architectures]
    return tuple(dict.fromkeys(platforms)), copies_index


def platforms_of_index(
    request: ReplicationRequest, default_platforms: Sequence[Platform]
) -> Sequence[Platform]:
    """Return the platforms to copy from an index; empty for all of it."""
    return () if request.copies_index else request.platforms or default_platforms


def choosing_setting(properties: Mapping[str, Any]) -> Setting:
    """Return the property that chooses platforms, or would."""
    architectures = read_texts(properties, Setting.ARCHITECTURE)
    return Setting.ARCHITECTURE if architectures else Setting.PLATFORMS


def parse_architecture_tags(
    properties: Mapping[str, Any], *, taken: tuple[str, ...]
) -> dict[Platform, str]:
    """Return the tag of each platform's own manifest.

    Parameters
    ----------
    taken
        The tags of the root manifest.

    Raises
    ------
    RequestError
        A platform or tag is malformed, or is used twice.
    """
    setting = Setting.ARCHITECTURE_TAGS
    tags: dict[Platform, str] = {}
    for name, tag in read_object(properties, setting).items():
        platform = parse_as(setting, Platform.parse, str(name))
        if tags.setdefault(platform, parse_tag(setting, tag)) != tag:
            raise invalid(
                setting,
                f"{quote(name)} is {platform}, which has the tag {tags[platform]}",
                hint="Give each platform one tag.",
            )
    for tag in tags.values():
        if tag in taken or list(tags.values()).count(tag) > 1:
            raise invalid(
                setting, f"the tag {tag} is used twice", hint="Use another tag for each manifest."
            )
    return tags


def parse_tag(setting: Setting, tag: object) -> str:
    """Return a valid tag.

    Raises
    ------
    RequestError
        It is not a tag.
    """
    if not isinstance(tag, str) or not is_tag(tag):
        raise invalid(
            setting,
            f"{quote(tag)} is not a tag",
            hint="A tag has 1 to 128 letters, digits, '_', '.' and '-'.",
        )
    return tag


def _exclusive(first: Setting, second: Setting) -> RequestError:
    return RequestError(
        "invalid ", first, ": it cannot be combined with ", second, hint="Remove one of them."
    )
