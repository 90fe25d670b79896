"""docs/troubleshooting.md compared with the program's error messages and error classes."""

from __future__ import annotations

import importlib
import pkgutil
import re
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from tests.documents.failures import FAILURES, Failure
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
#: Failures outside the tree of error classes.
NOT_IN_TREE: Final = {
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


def matches(written: str, message: str) -> bool:
    """Return whether a documented message, with `…` for omitted text, matches a message."""
    pattern = ".+?".join(map(re.escape, written.split("…")))
    return re.fullmatch(pattern, message, re.DOTALL) is not None


def tree() -> Iterator[type[ReplicationError]]:
    """Yield all error classes of all modules."""
    for module in pkgutil.walk_packages(ecr_image_replicator.__path__, "ecr_image_replicator."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    waiting: list[type[ReplicationError]] = [ReplicationError]
    while waiting:
        each = waiting.pop()
        yield each
        waiting += each.__subclasses__()


@pytest.mark.parametrize(
    ("heading", "failure"), FAILURES, ids=[failure.__name__ for _, failure in FAILURES]
)
def test_a_failure_raises_the_documented_message(
    scene: Scene, heading: str, failure: Failure
) -> None:
    with pytest.raises(ReplicationError) as caught:
        failure(scene)

    section = SECTIONS[heading]
    assert type(caught.value).__name__ in kinds(section)
    message = caught.value.render(property_name)
    assert any(matches(written, message) for written in sentences(section)), message
    words = [part for part in re.split(r"…|, ", heading) if part.strip(" ,")]
    assert any(part.strip() in message for part in words), (
        "no part of the heading is in the message"
    )


def test_every_documented_message_has_a_failure() -> None:
    counted = {heading: len(sentences(text)) for heading, text in SECTIONS.items()}
    made = [heading for heading, _ in FAILURES]

    assert counted.keys() == {*made, *NOT_IN_TREE}
    assert {heading: made.count(heading) for heading in made} == {
        heading: count for heading, count in counted.items() if heading not in NOT_IN_TREE
    }


def test_all_error_classes_are_documented() -> None:
    documented = {name for text in SECTIONS.values() for name in kinds(text)}
    never = set(re.findall(r"^\| `(\w+)` \|", PARTS, re.MULTILINE))

    assert not documented & never
    assert {each.__name__ for each in tree()} == documented | never


def test_the_documented_tree_of_error_classes_is_complete() -> None:
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
def test_messages_of_the_responder_are_documented(
    record: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    responses: list[Mapping[str, Any]] = []

    def deliver(_: str, body: Mapping[str, Any], *, budget_seconds: float) -> bool:
        responses.append(body)
        return budget_seconds > 0

    # the tests of `response` cover delivery
    monkeypatch.setattr(responder, "deliver", deliver)
    event = dict.fromkeys(("StackId", "RequestId", "LogicalResourceId"), "x")
    record = {**record, "requestPayload": {**event, "ResponseURL": f"https://{HOST}/x"}}

    class Context:
        def get_remaining_time_in_millis(self) -> int:
            return 30_000

    responder.lambda_handler(record, Context())

    section = SECTIONS["replication failed: the function was killed, timed out, was not run"]
    message = responses[0]["Reason"]
    assert any(matches(written, message) for written in sentences(section)), message


def test_the_message_of_an_internal_error_is_documented() -> None:
    def raise_internal_error() -> Replicator:
        raise ZeroDivisionError

    response = Function(ReplicationResource(raise_internal_error)).create(
        "nginx:1.27", "example.com/app:1"
    )

    (written,) = sentences(SECTIONS["internal error"])
    assert matches(f"{written} Log stream: …", response["Reason"]), response


def test_the_message_of_an_engine_that_does_not_stop_is_documented(
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
    response = Function(ReplicationResource(stuck)).send(event, seconds=0.5)

    (written,) = sentences(SECTIONS["timed out:"])
    assert matches(f"{written} Log stream: …", response["Reason"]), response
