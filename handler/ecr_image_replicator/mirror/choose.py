"""Selection of the tags of one repository, without I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.model.references import is_tag
from ecr_image_replicator.model.tag_patterns import is_digest_tag
from ecr_image_replicator.model.versions import natural_order, parse_version
from ecr_image_replicator.sanitize import sanitize

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ecr_image_replicator.model.versions import Version
    from ecr_image_replicator.request.mirror import Selection

_SHOWN: Final = 3
_SHOWN_CHARACTERS: Final = 80


@dataclass(frozen=True, slots=True)
class TagDecision:
    """A tag with the reason why it was selected or excluded."""

    tag: str
    reason: str


@dataclass(frozen=True, slots=True)
class TagChoice:
    """The result of selecting tags of a repository.

    Attributes
    ----------
    chosen
        In the order in which they are copied: neighbours share layers.
    left_out
        Tags that match but are excluded by Exclude or Newest.
    missing
        Exact tags that the repository does not have.
    warnings
        Patterns without a match, and names that are not valid tags.
    """

    chosen: tuple[TagDecision, ...] = ()
    left_out: tuple[TagDecision, ...] = ()
    missing: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def choose_tags(listed: Iterable[str], selection: Selection) -> TagChoice:
    """Select from the tags of a repository, listed in any order.

    Tags that represent digests (``sha256-…``) are never selected.
    """
    tags, warnings = _usable(listed)
    excluded = {
        tag: f"excluded by {glob}"
        for tag in tags
        if (glob := _excluded_by(tag, selection)) and _is_relevant(tag, selection)
    }
    candidates = [tag for tag in tags if not _excluded_by(tag, selection)]
    chosen = _choose_by_patterns(candidates, selection)
    too_old: dict[str, str] = {}
    if selection.versions is not None:
        others = [tag for tag in candidates if tag not in selection.named]
        versions = _matching_versions(others, selection)
        newest = len(versions) if selection.newest is None else selection.newest
        for tag in versions[:newest]:
            chosen.setdefault(tag, f"version in {selection.versions.text}")
        too_old = dict.fromkeys(versions[newest:], f"not among the newest {newest}")
    left_out = {tag: why for tag, why in (excluded | too_old).items() if tag not in chosen}
    return TagChoice(
        chosen=tuple(TagDecision(tag, chosen[tag]) for tag in sorted(chosen, key=_order)),
        left_out=tuple(TagDecision(tag, left_out[tag]) for tag in sorted(left_out, key=_order)),
        missing=tuple(
            each.text
            for each in selection.tags
            if each.text in selection.named and each.text not in tags
        ),
        warnings=(*warnings, *_without_match(tags, selection)),
    )


def _choose_by_patterns(tags: Iterable[str], selection: Selection) -> dict[str, str]:
    """Return the tags that match Tags, with the reason."""
    chosen = {}
    for tag in tags:
        pattern = next((each for each in selection.tags if each.matches(tag)), None)
        if pattern is not None:
            chosen[tag] = "named" if pattern.is_exact else f"matches {pattern.text}"
    return chosen


def _without_match(tags: Iterable[str], selection: Selection) -> list[str]:
    """Warn of patterns that no tag matches."""
    warnings = [
        f"no tag matches {each.text}"
        for each in selection.tags
        if not each.is_exact and not any(map(each.matches, tags))
    ]
    versions = selection.versions
    if versions is not None and not any(_version_in(tag, selection) for tag in tags):
        warnings.append(f"no tag matches the versions {versions.text}")
    return warnings


def _usable(listed: Iterable[str]) -> tuple[dict[str, None], list[str]]:
    """Separate valid tags from other names that some registries list."""
    tags: dict[str, None] = {}
    others: list[str] = []
    digests = 0
    for name in listed:
        if not is_tag(name):
            others.append(name)
        elif is_digest_tag(name):
            digests += 1
        else:
            tags[name] = None
    warnings = []
    if others:
        examples = ", ".join(repr(sanitize(name, _SHOWN_CHARACTERS)) for name in others[:_SHOWN])
        warnings.append(f"skipped names that are not tags: {len(others)}, such as {examples}")
    if digests:
        warnings.append(f"skipped tags that stand for digests (sha256-…): {digests}")
    return tags, warnings


def _excluded_by(tag: str, selection: Selection) -> str:
    """Return the glob that excludes a tag, "" for none."""
    return next((each.text for each in selection.exclude if each.matches(tag)), "")


def _matching_versions(tags: Iterable[str], selection: Selection) -> list[str]:
    """Return the tags in the range and with the suffix, highest first."""
    found = [(version, tag) for tag in tags if (version := _version_in(tag, selection))]
    found.sort(key=lambda each: (each[0].order, each[1]), reverse=True)
    return [tag for _, tag in found]


def _version_in(tag: str, selection: Selection) -> Version | None:
    """Parse a tag as a version in the range and with the suffix, or return None."""
    version, versions = parse_version(tag), selection.versions
    if version is None or versions is None or not versions.contains(version):
        return None
    return version if selection.suffix.matches(version.suffix) else None


def _is_relevant(tag: str, selection: Selection) -> bool:
    """Return whether an excluded tag would have matched."""
    if any(pattern.matches(tag) for pattern in selection.tags):
        return True
    return _version_in(tag, selection) is not None


def _order(tag: str) -> tuple[bool, object, str]:
    """Order tags so that neighbours share layers: versions by suffix and number, then names."""
    version = parse_version(tag)
    if version is None:
        return True, natural_order(tag), tag
    return False, (natural_order(version.suffix), version.order), tag
