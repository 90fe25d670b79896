"""The properties of a mirror, parsed into one frozen request.

The properties are those of docs/mirrors.md. Every wrong property is named before anything is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ecr_image_replicator.errors import RequestError
from ecr_image_replicator.model.references import canonical_registry, parse_image_reference
from ecr_image_replicator.request.mirror import (
    ARCHIVE_HOST,
    DEFAULT_CONCURRENCY,
    MirrorRequest,
)
from ecr_image_replicator.request.mirror_entries import (
    DEFAULTS_PROPERTIES,
    Problems,
    check_destinations,
    merge_images,
    parse_images,
    parse_repositories,
    read_count,
)
from ecr_image_replicator.request.properties import (
    quote,
    read_boolean,
    read_choice,
    read_object,
    read_text,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ecr_image_replicator.request.mirror import MirrorEntry

KNOWN_MIRROR_PROPERTIES: Final = (
    "Images",
    "Repositories",
    "Defaults",
    "SourceConcurrency",
    "MaxFailures",
    "CompleteWhen",
    "Schedule",
    "ScheduleTimezone",
    "DryRun",
)
#: Of CloudFormation, and Trigger, which only has to change.
_IGNORED: Final = ("ServiceToken", "ServiceTimeout", "Trigger")
_MAX_CONCURRENCY: Final = 40
_CRON_FIELDS: Final = 6


def parse_mirror(properties: Mapping[str, Any]) -> MirrorRequest:
    """Parse a mirror's properties.

    Raises
    ------
    RequestError
        It names every property that is unknown, missing or invalid.
    """
    problems = Problems()
    problems.check_names("", properties, (*KNOWN_MIRROR_PROPERTIES, *_IGNORED))
    defaults = problems.run("", _parse_defaults, properties) or {}
    problems.check_names("Defaults.", defaults, DEFAULTS_PROPERTIES)
    problems.check_image_options("Defaults.", defaults)
    repositories = list(parse_repositories(properties, defaults, problems))
    images = list(parse_images(properties, defaults, problems))
    _check_defaults(defaults, repositories, problems)
    if not any(properties.get(name) for name in ("Images", "Repositories")):
        problems.add("Images or Repositories is required")
    check_destinations([*repositories, *images], problems)
    concurrency = problems.run("", _parse_concurrency, properties)
    max_failures = problems.run("", read_count, properties, "MaxFailures", 0)
    complete_when = problems.run(
        "", read_choice, properties, "CompleteWhen", ("Copied", "Started"), "Copied"
    )
    schedule = problems.run("", _parse_schedule, properties)
    timezone = problems.run("", read_text, properties, "ScheduleTimezone")
    dry_run = problems.run("", read_boolean, properties, "DryRun")
    problems.raise_if_any()
    return MirrorRequest(
        entries=(*repositories, *merge_images(images)),
        concurrency=concurrency or dict(DEFAULT_CONCURRENCY),
        max_failures=max_failures or 0,
        completes_when_started=complete_when == "Started",
        schedule=schedule or "",
        schedule_timezone=timezone or "",
        dry_run=bool(dry_run),
    )


def _parse_defaults(properties: Mapping[str, Any]) -> dict[str, Any]:
    return read_object(properties, "Defaults", secret=True)


def _check_defaults(
    defaults: Mapping[str, Any], repositories: Sequence[MirrorEntry], problems: Problems
) -> None:
    """Find defaults that limit the versions of no repository: every tag would be copied."""
    if not repositories or any(each.selection and each.selection.versions for each in repositories):
        return
    for name in ("Suffix", "Newest"):
        if defaults.get(name) not in (None, ""):
            problems.add(f"Defaults.{name} is invalid without Versions")


def _parse_concurrency(properties: Mapping[str, Any]) -> dict[str, int]:
    name = "SourceConcurrency"
    value = properties.get(name)
    if value is None or value == "":
        return dict(DEFAULT_CONCURRENCY)
    is_map = isinstance(value, dict) or (isinstance(value, str) and value.strip()[:1] == "{")
    if not is_map:
        return {"*": _read_workers(name, value)}
    found = {}
    for host, workers in read_object(properties, name).items():
        count = _read_workers(f"{name} of {host}", workers)
        found[host if host in {"*", ARCHIVE_HOST} else _read_host(name, host)] = count
    return {**DEFAULT_CONCURRENCY, **found}


def _read_workers(place: str, value: Any) -> int:
    count = read_count({place: value}, place, 0, least=1)
    if count > _MAX_CONCURRENCY:
        raise RequestError(f"{place} is invalid: {count} workers, at most {_MAX_CONCURRENCY}")
    return count


def _read_host(name: str, host: str) -> str:
    registry = canonical_registry(host)
    try:
        is_host = parse_image_reference(f"{host}/a").registry == registry
    except RequestError:
        is_host = False
    if not is_host:
        raise RequestError(f"{name} {quote(host)} is invalid: it is not host or host:port")
    return registry


def _parse_schedule(properties: Mapping[str, Any]) -> str:
    text = read_text(properties, "Schedule")
    if text is None:
        return ""
    if not text.startswith(("cron(", "rate(", "at(")) or not text.endswith(")"):
        raise RequestError(
            f"Schedule {quote(text)} is invalid: it is cron(…), rate(…) or at(…), as EventBridge "
            "Scheduler takes them"
        )
    if text.startswith("cron(") and len(text[5:-1].split()) != _CRON_FIELDS:
        raise RequestError(
            f"Schedule {quote(text)} is invalid: EventBridge Scheduler takes cron(minutes hours "
            "day-of-month month day-of-week year)"
        )
    return text
