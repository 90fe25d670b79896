"""docs/resource-reference.md against the code: the same names in both."""

from __future__ import annotations

import re
from pathlib import Path

from ecr_image_replicator.copy.results import TransferReport
from ecr_image_replicator.model.digests import Digest
from ecr_image_replicator.model.platforms import Platform
from ecr_image_replicator.model.references import parse_image_reference
from ecr_image_replicator.outcome import Outcome
from ecr_image_replicator.referrers.copying import ReferrersReport
from ecr_image_replicator.request.parsing import KNOWN_PROPERTIES, parse_request
from ecr_image_replicator.request.repository_settings import _REPOSITORY_KEYS
from ecr_image_replicator.request.settings import Settings

REFERENCE = (Path(__file__).parents[2] / "docs" / "resource-reference.md").read_text()


def rows(heading: str) -> set[str]:
    """The names in the first column of the table under a heading."""
    section = REFERENCE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`[^|]+) \|", section, flags=re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def test_documented_properties_equal_the_known_properties() -> None:
    assert rows("Properties") == {*KNOWN_PROPERTIES, "Trigger"}


def cells(heading: str) -> dict[str, list[str]]:
    """The other columns of the table under a heading, by each name in the first."""
    section = REFERENCE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    found = re.findall(r"^\| (`[^|]+) \| (.+) \|$", section, flags=re.MULTILINE)
    return {
        name: re.split(r" ?\| ?", columns)
        for names, columns in found
        for name in re.findall(r"`([^`]+)`", names)
    }


def test_documented_defaults_equal_the_defaults_of_properties() -> None:
    """An explicit default gives the same request as an omitted property."""
    required = {"SrcImage": "s3://builds/app.tar", "DestImage": "example.com/app:1"}
    table = cells("Properties")
    defaults = {name: re.fullmatch(r"`(.+)`", columns[1]) for name, columns in table.items()}
    given = {name: found[1] for name, found in defaults.items() if found is not None}

    assert given.keys() >= {"CopyImageIndex", "Compression", "OnDelete", "RetryConfigs"}
    for name in given.keys() - {"DryRun"}:
        assert parse_request({**required, name: given[name]}) == parse_request(required), name


def test_documented_choices_are_accepted() -> None:
    required = {"SrcImage": "s3://builds/app.tar", "DestImage": "example.com/app:1"}
    table = cells("Properties")
    for name in ("Compression", "OnDelete"):
        choices = re.findall(r"`(\w+)`", table[name][0])
        assert len(choices) > 1
        for each in choices:
            parse_request({**required, name: each})


def test_documented_repository_settings_equal_the_known_keys() -> None:
    meaning = cells("Properties")["CreateRepository"][2]
    assert set(re.findall(r"`([A-Za-z]+)`", meaning)) == set(_REPOSITORY_KEYS)


def test_documented_defaults_equal_the_defaults_of_settings() -> None:
    table = cells("The function's settings")
    for name, (default, _) in table.items():
        value = default.strip("`") if default.startswith("`") else ""
        assert Settings.from_environment({name: value}) == Settings(), name


def test_documented_return_values_equal_the_attributes() -> None:
    digest = Digest.of(b"")
    outcome = Outcome(
        destination=parse_image_reference("example.com/app:1"),
        digest=digest,
        media_type="",
        platforms=((Platform("linux", "amd64"), digest),),
        changed=False,
        report=TransferReport(),
        duration_seconds=0,
        referrers=ReferrersReport(),
    )
    names = {name.replace("Digest.amd64", "Digest.ARCH") for name in outcome.attributes()}

    assert rows("Return values") == names


def test_documented_settings_equal_the_read_variables() -> None:
    documented = rows("The function's settings")
    read: set[str] = set()

    class RecordingEnvironment(dict[str, str]):
        def get(self, key: str, _: object = None) -> str:
            read.add(key)
            return ""

    Settings.from_environment(RecordingEnvironment())

    assert documented == read
