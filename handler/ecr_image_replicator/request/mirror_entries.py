"""Entries of a mirror's lists, parsed one by one; each problem is collected, not raised."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ecr_image_replicator.errors import RequestError
from ecr_image_replicator.model.archive_references import ArchiveReference, is_archive_reference
from ecr_image_replicator.model.references import is_tag, parse_image_reference
from ecr_image_replicator.model.tag_patterns import TagPattern, is_digest_tag, parse_tag_pattern
from ecr_image_replicator.model.versions import VersionRange, parse_version_range
from ecr_image_replicator.request.credentials import parse_credentials
from ecr_image_replicator.request.mirror import RELEASES_ONLY, MirrorEntry, Selection
from ecr_image_replicator.request.parsing import KNOWN_PROPERTIES, parse_request
from ecr_image_replicator.request.properties import (
    find_similar,
    property_name,
    quote,
    read_boolean,
    read_required,
    read_text,
    read_texts,
)
from ecr_image_replicator.request.secret_formats import SecretReference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from ecr_image_replicator.request.parsing import ReplicationRequest

_Value = TypeVar("_Value")
#: Of one image, and of no entry of a mirror.
_NOT_IN_ENTRIES: Final = frozenset({"OnDelete", "DryRun"})
_SELECTION: Final = ("Tags", "Versions", "Suffix", "Newest", "Exclude", "OnlyMissing")
_OF_ONE_IMAGE: Final = frozenset({"SrcImage", "DestImage", "DestTags", "ArchImageTags"})
_IMAGE_PROPERTIES: Final = tuple(name for name in KNOWN_PROPERTIES if name not in _NOT_IN_ENTRIES)
_REPOSITORY_PROPERTIES: Final = (
    "SrcRepository",
    "DestRepository",
    *_SELECTION,
    *(name for name in _IMAGE_PROPERTIES if name not in _OF_ONE_IMAGE),
)
DEFAULTS_PROPERTIES: Final = tuple(
    name for name in _REPOSITORY_PROPERTIES if name not in {"SrcRepository", "DestRepository"}
)
#: Properties that are read together: one of them alone may be invalid.
_PAIRS: Final = {"SrcExternalId": "SrcRoleArn", "DestExternalId": "DestRoleArn"}
#: Stands for the role that the entry or Defaults has.
_ANY_ROLE: Final = "arn:aws:iam::123456789012:role/any"
#: Properties that exclude each other: an entry's own replaces those of Defaults.
_PLATFORM_CHOICES: Final = frozenset({"ImageArch", "Platforms", "CopyImageIndex"})
#: Entries are read from one event; images are chosen from them later.
MAX_ENTRIES: Final = 10_000
#: More problems than this are not read by anybody.
_MAX_SHOWN: Final = 40


class Problems:
    """Everything that is wrong with a mirror's properties."""

    def __init__(self) -> None:
        self._found: list[str] = []

    def add(self, sentence: str) -> None:
        """Remember a problem, once."""
        if sentence not in self._found:
            self._found.append(sentence)

    def run(self, place: str, parse: Callable[..., _Value], *arguments: Any) -> _Value | None:
        """Parse something; None when it is wrong."""
        try:
            return parse(*arguments)
        except RequestError as error:
            where = place.removesuffix(".")
            self.add(
                f"{where}: {error.render(property_name)}" if where else error.render(property_name)
            )
            return None

    def check_names(self, place: str, values: Mapping[str, Any], known: Sequence[str]) -> None:
        """Find unknown properties."""
        for name in values:
            if name in known:
                continue
            near = find_similar(str(name), known)
            hint = f"; did you mean {near!r}?" if near else ""
            where = f" in {place.removesuffix('.')}" if place else ""
            self.add(f"unknown property {quote(name)}{where}{hint}")

    def check_image_options(self, place: str, values: Mapping[str, Any]) -> bool:
        """Parse each of an entry's image properties alone, so that every wrong one is found."""
        before = len(self._found)
        for name in values:
            if name in _OF_ONE_IMAGE or name not in _IMAGE_PROPERTIES:
                continue
            alone = {name: values[name]}
            if name in _PAIRS:
                alone[_PAIRS[name]] = _ANY_ROLE
            named = {"SrcImage": "a.example/a:1", "DestImage": "b.example/b:1", **alone}
            self.run(place, parse_request, named)
            if name in {"SrcCreds", "DestCreds"}:
                self.run(place, _check_credentials, values, name)
        return len(self._found) == before

    def raise_if_any(self) -> None:
        """Raise what was found, if there is any.

        Raises
        ------
        RequestError
            It lists the problems.
        """
        if not self._found:
            return
        if len(self._found) == 1:
            raise RequestError(f"invalid mirror: {self._found[0]}")
        listed = "; ".join(f"({i}) {each}" for i, each in enumerate(self._found[:_MAX_SHOWN], 1))
        raise RequestError(f"invalid mirror, {len(self._found)} problems: {listed}")


def _check_credentials(values: Mapping[str, Any], name: str) -> None:
    text = read_text(values, name, secret=True)
    if text is not None and not isinstance(parse_credentials(text, name), SecretReference):
        raise RequestError(
            f"{name} is invalid: a mirror takes the ARN or the name of a secret, not user:password"
        )


def _read_entries(
    properties: Mapping[str, Any], name: str, problems: Problems
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    value = properties.get(name) or []
    if not isinstance(value, list):
        # not quoted: entries may contain credentials
        problems.add(f"{name} is invalid: it is not a list of maps")
        return
    if len(value) > MAX_ENTRIES:
        problems.add(f"{name} is invalid: it has {len(value)} entries, at most {MAX_ENTRIES}")
        return
    for position, entry in enumerate(value):
        place = f"{name}[{position}]"
        if isinstance(entry, dict):
            yield place, entry
        else:
            problems.add(f"{place} is invalid: it is not a map")


def _with_defaults(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    own = {str(given.get(name) or "").strip().lower() for name in _PLATFORM_CHOICES}
    has_platforms = bool(own - {"", "false"})
    replaced = _PLATFORM_CHOICES if has_platforms else frozenset[str]()
    kept = {name: value for name, value in defaults.items() if name not in replaced}
    return {**kept, **given}


def parse_repositories(
    properties: Mapping[str, Any], defaults: Mapping[str, Any], problems: Problems
) -> Iterator[MirrorEntry]:
    """Parse Repositories; entries that are wrong are left out."""
    for place, given in _read_entries(properties, "Repositories", problems):
        entry = _with_defaults(given, defaults)
        prefix = f"{place}."
        problems.check_names(prefix, given, _REPOSITORY_PROPERTIES)
        is_sound = problems.check_image_options(prefix, given)
        source = problems.run(prefix, _parse_repository, entry, "SrcRepository")
        destination = None
        if source is not None:
            destination = problems.run(
                prefix,
                _parse_repository,
                _expand(entry, source),
                "DestRepository",
            )
        else:
            problems.run(prefix, read_required, entry, "DestRepository")
        selection = _parse_selection(prefix, entry, given, problems)
        if source is None or destination is None or selection is None or not is_sound:
            continue
        options = {name: entry[name] for name in entry if name in _IMAGE_PROPERTIES}
        named = {"SrcImage": f"{source}:latest", "DestImage": f"{destination}:latest", **options}
        template = problems.run(prefix, parse_request, named)
        if template is not None:
            yield MirrorEntry(place, template, selection)


def _parse_repository(entry: Mapping[str, Any], name: str) -> str:
    """Read ``host/path``; a name without a host is Docker Hub's."""
    text = read_required(entry, name)
    if is_archive_reference(text):
        raise RequestError(
            f"{name} {quote(text)} is invalid: an archive has no tags; list it in Images"
        )
    try:
        reference = parse_image_reference(text)
    except RequestError as error:
        # it quotes the text without a login or signature in it
        raise RequestError(f"{name} is invalid: {error.render(property_name)}") from error
    if ":" in text.rpartition("/")[2] or reference.digest is not None:
        raise RequestError(
            f"{name} {quote(text)} is invalid: a repository has neither tag nor digest"
        )
    if name == "DestRepository" and "/" not in text.rpartition("://")[2]:
        raise RequestError(f"{name} {quote(text)} is invalid: it is not host/repository")
    return reference.name


def _expand(entry: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Replace ``{path}`` and ``{name}`` in an entry's destination."""
    text = entry.get("DestRepository")
    if not isinstance(text, str):
        return dict(entry)
    path = source.partition("/")[2]
    expanded = text.replace("{path}", path).replace("{name}", path.rpartition("/")[2])
    return {**entry, "DestRepository": expanded}


def _parse_selection(
    prefix: str, entry: Mapping[str, Any], given: Mapping[str, Any], problems: Problems
) -> Selection | None:
    tags = problems.run(prefix, _parse_patterns, entry, "Tags")
    versions = problems.run(prefix, _parse_versions, entry)
    suffix = problems.run(prefix, _parse_suffix, entry)
    newest = problems.run(prefix, _parse_newest, entry)
    exclude = problems.run(prefix, _parse_patterns, entry, "Exclude")
    only_missing = problems.run(prefix, read_boolean, entry, "OnlyMissing")
    if tags is None or versions is None or suffix is None or newest is None:
        return None
    if exclude is None or only_missing is None:
        return None
    found_versions = versions[0] if versions else None
    if found_versions is None:
        for name in ("Suffix", "Newest"):
            if given.get(name) not in (None, ""):
                problems.add(f"{prefix}{name} is invalid without Versions")
    for tag in tags:
        if tag.is_exact and not is_tag(tag.text):
            problems.add(f"{prefix}Tags {tag.text!r} is invalid: it is not a tag")
        elif tag.is_exact and is_digest_tag(tag.text):
            problems.add(
                f"{prefix}Tags {tag.text!r} is invalid: it stands for a digest, and CopyReferrers "
                "copies what such tags hold"
            )
    if not tags and found_versions is None:
        tags = (TagPattern("*"),)
    return Selection(
        tags, found_versions, suffix, newest[0] if newest else None, exclude, only_missing
    )


def _parse_patterns(entry: Mapping[str, Any], name: str) -> tuple[TagPattern, ...]:
    try:
        return tuple(dict.fromkeys(map(parse_tag_pattern, read_texts(entry, name))))
    except RequestError as error:
        raise RequestError(f"{name}: {error}" if name not in str(error) else str(error)) from error


def _parse_versions(entry: Mapping[str, Any]) -> tuple[VersionRange, ...]:
    """Parse the range; empty for none."""
    text = read_text(entry, "Versions")
    if text is None:
        return ()
    try:
        return (parse_version_range(text),)
    except RequestError as error:
        raise RequestError(f"Versions: {error}") from error


def _parse_suffix(entry: Mapping[str, Any]) -> TagPattern:
    text = read_text(entry, "Suffix")
    if text is None:
        return RELEASES_ONLY
    try:
        return parse_tag_pattern(text)
    except RequestError as error:
        raise RequestError(f"Suffix: {error}") from error


def _parse_newest(entry: Mapping[str, Any]) -> tuple[int, ...]:
    """Read the count; empty for all."""
    if entry.get("Newest") in (None, ""):
        return ()
    return (read_count(entry, "Newest", 1, least=1),)


def read_count(values: Mapping[str, Any], name: str, default: int, *, least: int = 0) -> int:
    """Read a whole number.

    Raises
    ------
    RequestError
        It is none, or too small.
    """
    value = values.get(name)
    if value in (None, ""):
        value = default
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdecimal():
        value = int(value.strip()[:9])
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise RequestError(
            f"{name} {quote(value)} is invalid: it is a whole number, at least {least}"
        )
    return value


def parse_images(
    properties: Mapping[str, Any], defaults: Mapping[str, Any], problems: Problems
) -> Iterator[MirrorEntry]:
    """Parse Images; entries that are wrong are left out."""
    for place, given in _read_entries(properties, "Images", problems):
        prefix = f"{place}."
        problems.check_names(prefix, given, _IMAGE_PROPERTIES)
        is_sound = problems.check_image_options(prefix, given)
        entry = _with_defaults(given, defaults)
        named = {name: entry[name] for name in entry if name in _IMAGE_PROPERTIES}
        if is_sound:
            request = problems.run(prefix, parse_request, named)
            if request is not None:
                images = ((request.source, request.all_tags),)
                yield MirrorEntry(place, request, images=images)


def merge_images(entries: Iterable[MirrorEntry]) -> list[MirrorEntry]:
    """Join images of one repository pair and with the same options into one entry."""
    merged: dict[ReplicationRequest, MirrorEntry] = {}
    alone: list[MirrorEntry] = []
    for entry in entries:
        request = entry.template
        if request.arch_tags or isinstance(request.source, ArchiveReference):
            alone.append(entry)
            continue
        key = dataclasses.replace(
            request,
            source=request.source._replace(tag="latest", digest=None),
            destination=request.destination._replace(tag="latest"),
            tags=(),
        )
        known = merged.get(key)
        if known is None:
            merged[key] = dataclasses.replace(entry, template=key)
        else:
            merged[key] = dataclasses.replace(known, images=(*known.images, *entry.images))
    return [*merged.values(), *alone]


def check_destinations(entries: Sequence[MirrorEntry], problems: Problems) -> None:
    """Find destinations that are written to twice."""
    repositories: dict[str, str] = {}
    tags: set[tuple[str, str]] = set()
    for entry in entries:
        destination = entry.destination_name
        if entry.selection is not None:
            first = repositories.setdefault(destination, entry.name)
            if first != entry.name:
                problems.add(
                    f"{entry.name}.DestRepository {destination} is invalid: {first} has the same"
                )
        own = [tag for _, each in entry.images for tag in each]
        if entry.selection is not None:
            tags |= {(destination, tag) for tag in entry.selection.named}
        for tag in (*own, *entry.template.arch_tags.values()):
            if (destination, tag) in tags:
                problems.add(
                    f"{entry.name}.DestImage {destination}:{tag} is invalid: another image of the "
                    "mirror has the same"
                )
            tags.add((destination, tag))
