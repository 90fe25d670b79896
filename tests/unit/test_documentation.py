"""docs/resource-reference.md against the code: the same names in both."""

from __future__ import annotations

import re
from pathlib import Path

from replicator.digests import Digest
from replicator.outcome import Outcome
from replicator.platforms import Platform
from replicator.references import parse_image_reference
from replicator.referrers import ReferrersReport
from replicator.request import KNOWN_PROPERTIES
from replicator.settings import Settings
from replicator.transfer import TransferReport

REFERENCE = (Path(__file__).parents[2] / "docs" / "resource-reference.md").read_text()


def rows(heading: str) -> set[str]:
    """The names in the first column of the table under a heading."""
    section = REFERENCE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`[^|]+) \|", section, flags=re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def test_every_property_is_documented_and_no_other() -> None:
    assert rows("Properties") == {*KNOWN_PROPERTIES, "Trigger"}


def test_every_return_value_is_documented_and_no_other() -> None:
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


def test_every_setting_is_documented_and_no_other() -> None:
    documented = rows("The function's settings")
    read: set[str] = set()

    class RecordingEnvironment(dict[str, str]):
        def get(self, key: str, _: object = None) -> str:
            read.add(key)
            return ""

    Settings.from_environment(RecordingEnvironment())

    assert documented == read
