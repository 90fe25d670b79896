"""docs/troubleshooting.md against what the program says, and against the tree of errors."""

from __future__ import annotations

import importlib
import pkgutil
import re
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from tests.documents.failures import MISHAPS, Mishap
from tests.documents.scene import Scene
from tests.functional.conftest import Function
from tests.unit.custom_resource.engines import HOST

import ecr_image_replicator
import responder
from custom_resource.invocation import Invocation
from custom_resource.resource import ReplicationResource
from ecr_image_replicator.errors import ReplicationError, StoppedError
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.properties import property_name

PAGE: Final = (Path(__file__).parents[2] / "docs" / "troubleshooting.md").read_text()
#: Not of the tree: nothing else could answer.
OUTSIDE: Final = {
    "replication failed: the function was killed, timed out, was not run",
    "internal error",
    "timed out:",
}
_KIND: Final = re.compile(r"\bKind:\s+(`\w+`(?:, `\w+`)*)\.")
_QUOTE: Final = re.compile(r"^> `([^`]+)`$", re.MULTILINE)


def sections() -> dict[str, str]:
    found = re.split(r"^### (.+)$", PAGE, flags=re.MULTILINE)[1:]
    return {
        heading: text.partition("\n## ")[0]
        for heading, text in zip(found[::2], found[1::2], strict=True)
    }


SECTIONS: Final = sections()
PARTS: Final = SECTIONS.pop("Kinds that appear in no message")


def sentences(section: str) -> list[str]:
    return [re.sub(r"\n> ", " ", quoted) for quoted in _QUOTE.findall(section)]


def kinds(section: str) -> set[str]:
    return {name for listed in _KIND.findall(section) for name in re.findall(r"\w+", listed)}


def says(written: str, said: str) -> bool:
    """Return whether a sentence on the page is this one, with `…` for what was left out."""
    pattern = ".+?".join(map(re.escape, written.split("…")))
    return re.fullmatch(pattern, said, re.DOTALL) is not None


def tree() -> Iterator[type[ReplicationError]]:
    """Every class of errors, in whichever module it is."""
    for module in pkgutil.walk_packages(ecr_image_replicator.__path__, "ecr_image_replicator."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    waiting: list[type[ReplicationError]] = [ReplicationError]
    while waiting:
        each = waiting.pop()
        yield each
        waiting += each.__subclasses__()


@pytest.mark.parametrize(
    ("heading", "mishap"), MISHAPS, ids=[mishap.__name__ for _, mishap in MISHAPS]
)
def test_a_mishap_is_told_as_the_page_has_it(scene: Scene, heading: str, mishap: Mishap) -> None:
    with pytest.raises(ReplicationError) as caught:
        mishap(scene)

    section = SECTIONS[heading]
    assert type(caught.value).__name__ in kinds(section)
    said = caught.value.render(property_name)
    assert any(says(written, said) for written in sentences(section)), said
    words = [part for part in re.split(r"…|, ", heading) if part.strip(" ,")]
    assert any(part.strip() in said for part in words), "its words do not lead to its section"


def test_every_section_has_its_mishaps() -> None:
    counted = {heading: len(sentences(text)) for heading, text in SECTIONS.items()}
    made = [heading for heading, _ in MISHAPS]

    assert counted.keys() == {*made, *OUTSIDE}
    assert {heading: made.count(heading) for heading in made} == {
        heading: count for heading, count in counted.items() if heading not in OUTSIDE
    }


def test_every_kind_of_error_is_on_the_page_and_every_kind_there_is_one() -> None:
    told = {name for text in SECTIONS.values() for name in kinds(text)}
    never = set(re.findall(r"^\| `(\w+)` \|", PARTS, re.MULTILINE))

    assert not told & never
    assert {each.__name__ for each in tree()} == told | never


def test_the_tree_that_is_drawn_is_the_tree_that_there_is() -> None:
    drawn = importlib.import_module("ecr_image_replicator.errors").__doc__ or ""
    names = set(re.findall(r"^ *[│├└─ ]*(\w+Error)\b", drawn, re.MULTILINE))
    own = {each.__name__ for each in tree() if each.__module__ == "ecr_image_replicator.errors"}
    assert names == own


@pytest.mark.parametrize(
    "record",
    [
        {"responsePayload": {"errorType": "Runtime.OutOfMemory"}},
        {"responsePayload": {"errorType": "Sandbox.Timedout"}},
        {"responsePayload": {"errorType": "UndeliveredResponseError"}},
        {"requestContext": {"condition": "EventAgeExceeded"}},
        {"requestContext": {"condition": "ZeroReservedConcurrency"}},
        {"requestContext": {"condition": "RecursiveInvocation"}},
    ],
)
def test_what_the_responder_says_is_on_the_page(
    record: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[Mapping[str, Any]] = []

    def deliver(_: str, body: Mapping[str, Any], *, budget_seconds: float) -> bool:
        answers.append(body)
        return budget_seconds > 0

    # what becomes of an answer on its way is tested with `answers`
    monkeypatch.setattr(responder, "deliver", deliver)
    event = dict.fromkeys(("StackId", "RequestId", "LogicalResourceId"), "x")
    record = {**record, "requestPayload": {**event, "ResponseURL": f"https://{HOST}/x"}}

    class Context:
        def get_remaining_time_in_millis(self) -> int:
            return 30_000

    responder.lambda_handler(record, Context())

    section = SECTIONS["replication failed: the function was killed, timed out, was not run"]
    said = answers[0]["Reason"]
    assert any(says(written, said) for written in sentences(section)), said


def test_a_defect_is_told_as_the_page_has_it() -> None:
    def defective() -> Replicator:
        raise ZeroDivisionError

    answer = Function(ReplicationResource(defective)).create("nginx:1.27", "example.com/app:1")

    (written,) = sentences(SECTIONS["internal error"])
    assert says(f"{written} Log stream: …", answer["Reason"]), answer


def test_an_engine_that_does_not_let_go_is_told_of_as_the_page_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    released = threading.Event()

    def stuck() -> Replicator:
        released.wait(60)
        raise StoppedError

    event = {
        "RequestType": "Create",
        "ResourceProperties": {"SrcImage": "nginx:1.27", "DestImage": "example.com/app:1"},
    }

    expire = Invocation.expire

    def expire_and_release(invocation: Invocation) -> None:
        expire(invocation)
        released.set()

    monkeypatch.setattr(Invocation, "expire", expire_and_release)
    answer = Function(ReplicationResource(stuck)).send(event, seconds=0.5)

    (written,) = sentences(SECTIONS["timed out:"])
    assert says(f"{written} Log stream: …", answer["Reason"]), answer
