"""The properties of a mirror, parsed into one frozen request.

The properties are those of docs/mirrors.md. Every wrong property is named before anything is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ecr_image_replicator.errors import RequestError
from ecr_image_replicator.model.references import canonical_registry
from ecr_image_replicator.request.mirror import DEFAULT_CONCURRENCY, MirrorRequest
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
    from collections.abc import Mapping

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
    entries = [*parse_repositories(properties, defaults, problems)]
    entries += merge_images(parse_images(properties, defaults, problems))
    if not any(properties.get(name) for name in ("Images", "Repositories")):
        problems.add("Images or Repositories is required")
    check_destinations(entries, problems)
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
        entries=tuple(entries),
        concurrency=concurrency or dict(DEFAULT_CONCURRENCY),
        max_failures=max_failures or 0,
        completes_when_started=complete_when == "Started",
        schedule=schedule or "",
        schedule_timezone=timezone or "",
        dry_run=bool(dry_run),
    )


def _parse_defaults(properties: Mapping[str, Any]) -> dict[str, Any]:
    return read_object(properties, "Defaults", secret=True)


def _parse_concurrency(properties: Mapping[str, Any]) -> dict[str, int]:
    name = "SourceConcurrency"
    value = properties.get(name)
    if value is None or value == "":
        return dict(DEFAULT_CONCURRENCY)
    is_number = isinstance(value, int) or (isinstance(value, str) and value.strip().isdecimal())
    values = {"*": value} if is_number else read_object(properties, name)
    found = {}
    for host in values:
        try:
            count = read_count(values, host, 0, least=1)
        except RequestError as error:
            raise RequestError(f"{name} of {error}") from error
        if count > _MAX_CONCURRENCY:
            raise RequestError(
                f"{name} of {host} is invalid: {count} workers, at most {_MAX_CONCURRENCY}"
            )
        found[host if host == "*" else canonical_registry(host)] = count
    return found if is_number else {**DEFAULT_CONCURRENCY, **found}


def _parse_schedule(properties: Mapping[str, Any]) -> str:
    text = read_text(properties, "Schedule")
    if text is None:
        return ""
    if not text.startswith(("cron(", "rate(", "at(")) or not text.endswith(")"):
        raise RequestError(
            f"Schedule {quote(text)} is invalid: it is cron(…), rate(…) or at(…), as EventBridge "
            "Scheduler takes them"
        )
    return text
