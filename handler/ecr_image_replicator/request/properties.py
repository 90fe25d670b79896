"""Readers for single properties, in every type in which CloudFormation delivers them.

Each reader raises RequestError. The message names the property and quotes its value.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from ecr_image_replicator.errors import Assignment, Part, RequestError, Setting, Term

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from ecr_image_replicator.errors import Name

_Value = TypeVar("_Value")
_MAX_QUOTED_CHARACTERS: Final = 120

#: The CloudFormation property of each setting.
PROPERTY_NAMES: Final[Mapping[Setting, str]] = {
    Setting.SOURCE: "SrcImage",
    Setting.DESTINATION: "DestImage",
    Setting.DESTINATION_TAGS: "DestTags",
    Setting.SOURCE_CREDENTIALS: "SrcCreds",
    Setting.DESTINATION_CREDENTIALS: "DestCreds",
    Setting.SOURCE_ROLE: "SrcRoleArn",
    Setting.DESTINATION_ROLE: "DestRoleArn",
    Setting.SOURCE_EXTERNAL_ID: "SrcExternalId",
    Setting.DESTINATION_EXTERNAL_ID: "DestExternalId",
    Setting.ARCHITECTURE: "ImageArch",
    Setting.PLATFORMS: "Platforms",
    Setting.COPY_INDEX: "CopyImageIndex",
    Setting.ARCHITECTURE_TAGS: "ArchImageTags",
    Setting.COPY_REFERRERS: "CopyReferrers",
    Setting.FORMAT: "Format",
    Setting.COMPRESSION: "Compression",
    Setting.CREATE_REPOSITORY: "CreateRepository",
    Setting.ON_DELETE: "OnDelete",
    Setting.RETRIES: "RetryConfigs",
    Setting.VERIFY_SIGNATURE_KEY: "VerifySignatureKey",
    Setting.DRY_RUN: "DryRun",
}
_TERMS: Final = {Term.RETRY: "deploy again", Term.CALLER: "the function's role"}


def property_name(name: Name) -> str:
    """Return a name in CloudFormation's terms, for `ReplicationError.render`."""
    if isinstance(name, Assignment):
        return f"{PROPERTY_NAMES[name.setting]}: {name.value}"
    return _TERMS[name] if isinstance(name, Term) else PROPERTY_NAMES[name]


class Key(NamedTuple):
    """A key of a setting whose value is a map: ``CreateRepository.KmsKey``."""

    setting: Setting
    name: str


#: Where a value is: a setting, a key of one, or a property that is not a setting.
Place = Setting | Key | str


def find_value(properties: Mapping[str, Any], place: Place) -> Any:
    """Return a property's value as delivered, None without one."""
    if isinstance(place, Setting):
        return properties.get(PROPERTY_NAMES[place])
    return properties.get(place.name if isinstance(place, Key) else place)


def invalid(place: Place, reason: str, *, hint: str | tuple[Part, ...] = ()) -> RequestError:
    """Return the error for an invalid value: ``invalid NAME: reason``."""
    return RequestError("invalid ", *_parts(place), f": {reason}", hint=hint)


def read_text(properties: Mapping[str, Any], place: Place, *, secret: bool = False) -> str | None:
    """Return a string; None when it is missing or empty. A secret's value is not quoted."""
    value = find_value(properties, place)
    if value is None:
        return None
    if not isinstance(value, str):
        raise invalid(place, "it is not a string" if secret else f"{quote(value)} is not a string")
    return value.strip() or None


def read_required(properties: Mapping[str, Any], place: Place) -> str:
    """Return a string that must be present."""
    value = read_text(properties, place)
    if value is None:
        raise RequestError(*_parts(place), " is required")
    return value


def read_texts(properties: Mapping[str, Any], place: Place) -> list[str]:
    """Return the strings of a list or comma list, without empty ones."""
    value = find_value(properties, place)
    if value is None:
        return []
    values = value.split(",") if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(each, str) for each in values):
        raise invalid(place, f"{quote(value)} is not a list of strings")
    return [each.strip() for each in values if each.strip()]


def read_boolean(properties: Mapping[str, Any], place: Place) -> bool:
    """Return a boolean, delivered as itself or as a string; false when it is missing."""
    value = find_value(properties, place)
    if isinstance(value, bool):
        return value
    if _is_missing(value):
        return False
    if isinstance(value, str) and value.strip().lower() in {"true", "false"}:
        return value.strip().lower() == "true"
    raise invalid(place, f"{quote(value)} is not a boolean", hint="Use true or false.")


def read_choice(
    properties: Mapping[str, Any], place: Place, choices: Collection[str], default: str
) -> str:
    """Return one of several values, matched without regard to case."""
    value = read_text(properties, place)
    if value is None:
        return default
    for choice in choices:
        if value.lower() == choice.lower():
            return choice
    raise invalid(place, f"{quote(value)} is not one of {', '.join(choices)}")


def read_object(
    properties: Mapping[str, Any], place: Place, *, secret: bool = False
) -> dict[str, Any]:
    """Return a map, delivered as itself or as JSON; empty when it is missing.

    A value that may contain a secret is not quoted.
    """
    value = find_value(properties, place)
    if _is_missing(value):
        return {}
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            shown = "it" if secret else quote(value)
            raise invalid(place, f"{shown} is neither a map nor JSON") from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid(place, f"{'it' if secret else quote(value)} is not a map")
    return value


def read_number(values: Mapping[str, Any], place: Place, default: float) -> float:
    """Return a finite number, delivered as itself or as a string."""
    value = find_value(values, place)
    if _is_missing(value):
        return default
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = float("nan")
        if abs(number) < float("inf"):
            return number
    raise invalid(place, f"{quote(value)} is not a number")


def reject_unknown_keys(
    values: Mapping[str, Any], setting: Setting, known: Collection[str]
) -> None:
    """Raise for the first key of a map that is not known."""
    for key in values:
        if key not in known:
            raise invalid(setting, f"unknown key {quote(key)}", hint=f"Use {', '.join(known)}.")


def find_similar(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that an unknown one resembles most, without regard to case."""
    import difflib  # noqa: PLC0415 - for errors only

    by_lowercase = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name.lower(), by_lowercase, n=1, cutoff=0.5)
    return by_lowercase[near[0]] if near else None


def parse_as(setting: Setting, parse: Callable[[str], _Value], text: str) -> _Value:
    """Parse a property's text; a RequestError of the parser gets the property's name in front."""
    try:
        return parse(text)
    except RequestError as error:
        raise RequestError(setting, ": ", *error.message, hint=error.hint) from error


def quote(value: object) -> str:
    """Return a value's representation, shortened for a message."""
    text = repr(value)
    if len(text) <= _MAX_QUOTED_CHARACTERS:
        return text
    return text[: _MAX_QUOTED_CHARACTERS - 3] + "..."


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _parts(place: Place) -> tuple[Part, ...]:
    return (place.setting, f".{place.name}") if isinstance(place, Key) else (place,)
