"""docs/operations.md: queries use logged fields and messages, metrics are emitted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from local.certificates import CertificateAuthority
from local.cloudformation import CloudFormationEndpoint
from local.emulator import LambdaEmulator
from local.images import build_image, build_layer, push
from local.registry import (
    Action,
    ErrorCode,
    Operation,
    RegistryError,
    RegistryServer,
    SpecificationPolicy,
    Store,
)
from local.web import Request
from tests.examples.resolver import load_template

from custom_resource.metrics import NAMESPACE

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "operations.md").read_text()
TEMPLATE: Final[dict[str, Any]] = load_template(ROOT / "template.yaml")
MONITORING: Final[dict[str, Any]] = load_template(ROOT / "monitoring.yaml")
#: Printed by the failure responder.
RESPONDER_METRIC: Final = "ResponderResponses"
#: Fields of Logs Insights and of Lambda's log lines; AWS, "Supported logs and discovered fields".
_DISCOVERED: Final = {
    "@billedDuration",
    "@duration",
    "@maxMemoryUsed",
    "@memorySize",
    "@message",
    "@timestamp",
    "@type",
}
_WORDS: Final = {
    *("fields", "filter", "stats", "sort", "limit"),
    *("as", "asc", "by", "desc", "like"),
    *("bin", "count", "max", "sum"),
}


def section(heading: str) -> str:
    return PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


_FENCES: Final = re.compile(r"^```([\w ]*)\n(.+?)^```$", re.MULTILINE | re.DOTALL)
#: Queries have fences without a language, commands have one.
QUERIES: Final = [
    text for language, text in _FENCES.findall(section("Ten questions")) if not language
]


class ThrottledOnce(SpecificationPolicy):
    """A policy that throttles one request."""

    _is_throttled = False

    def before(self, operation: Operation, request: Request, store: Store) -> None:  # noqa: ARG002 - overrides
        if operation.action is Action.START_UPLOAD and not self._is_throttled:
            self._is_throttled = True
            raise RegistryError(ErrorCode.TOOMANYREQUESTS, "later", status=429)


@pytest.fixture(scope="module")
def logged(authority: CertificateAuthority) -> list[dict[str, Any]]:
    """Log lines of a throttled copy and of a failure."""
    environment = {
        "SSL_CERT_FILE": str(authority.ca_file),
        "RESPONSE_HOSTS": "localhost",
        "PLAIN_HTTP_REGISTRIES": "127.0.0.1",
    }
    with (
        RegistryServer() as source,
        RegistryServer(policy=ThrottledOnce()) as destination,
        CloudFormationEndpoint(authority.server_context()) as endpoint,
        LambdaEmulator(ROOT / "handler", environment=environment) as emulator,
    ):
        push(build_image([build_layer(100_000)]), source.host, "app", "1")
        for tag in ("1", "2"):
            named = {
                "SrcImage": f"{source.host}/app:{tag}",
                "DestImage": f"{destination.host}/copy:1",
                "RetryConfigs": {"baseDelay": 0},
            }
            emulator.invoke(endpoint.event("Create", named))
        log = emulator.log
    assert [response.status for response in endpoint.responses] == ["SUCCESS", "FAILED"]
    return [json.loads(line) for line in log.splitlines() if line.startswith("{")]


def flat(node: Any, prefix: str = "") -> Iterator[str]:
    """Return the names of a line's fields as in Logs Insights."""
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for name, value in items:
        yield f"{prefix}{name}"
        if isinstance(value, dict | list):
            yield from flat(value, f"{prefix}{name}.")


def test_each_of_ten_questions_has_a_query_or_a_command() -> None:
    parts = re.split(r"^### (\d+)\. (.+\?)$", section("Ten questions"), flags=re.MULTILINE)
    assert parts[1::3] == [str(number) for number in range(1, 11)]
    assert all("```" in text for text in parts[3::3])
    assert len(QUERIES) >= 10


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.splitlines()[0])
def test_a_query_uses_existing_fields_and_messages(
    query: str, logged: list[dict[str, Any]]
) -> None:
    messages = {line["message"] for line in logged}
    for message in re.findall(r'message = "([^"]+)"', query):
        assert message in messages
        lines = [line for line in logged if line["message"] == message]
        names = {name for line in lines for name in flat(line)}
        unknown = fields(query) - names - _DISCOVERED
        assert not unknown
    for pattern in re.findall(r"(?<!@)message like /(.+)/", query):
        assert any(re.search(pattern, message) for message in messages)
    assert fields(query) <= _DISCOVERED | {name for line in logged for name in flat(line)}


def fields(query: str) -> set[str]:
    """Return the field names in a query."""
    given = set(re.findall(r"\bas (\w+)", query))
    bare = re.sub(r'"[^"]*"|/\^?[\w ]+/|\b\d+[dh]?\b(?!\.)', " ", re.sub(r"\.0\b", ".zero", query))
    names = {each.replace(".zero", ".0") for each in re.findall(r"@?[A-Za-z_][\w.]*", bare)}
    return names - given - _WORDS


def test_the_responder_query_matches_its_log_message() -> None:
    assert "responding to request" in section("Ten questions")
    assert '"responding to request %s' in (ROOT / "handler" / "responder.py").read_text()


def test_the_documented_metrics_are_emitted(logged: list[dict[str, Any]]) -> None:
    directives = [line["_aws"]["CloudWatchMetrics"][0] for line in logged if "_aws" in line]
    emitted = {metric["Name"] for each in directives for metric in each["Metrics"]}
    table = section("Metrics, alarms and dashboard")
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == {*emitted, RESPONDER_METRIC}
    assert {each["Namespace"] for each in directives} == {NAMESPACE}
    assert f"`{NAMESPACE}`" in table


def test_alarms_and_dashboard_use_emitted_metrics(
    logged: list[dict[str, Any]],
) -> None:
    directives = [line["_aws"]["CloudWatchMetrics"][0] for line in logged if "_aws" in line]
    emitted = {metric["Name"] for each in directives for metric in each["Metrics"]}
    emitted.add(RESPONDER_METRIC)
    resources = MONITORING["Resources"].values()
    alarms = [each["Properties"] for each in resources if each["Type"] == "AWS::CloudWatch::Alarm"]
    own = {each["MetricName"] for each in alarms if each.get("Namespace") == NAMESPACE}
    assert own
    assert own <= emitted
    body = MONITORING["Resources"]["OperationsDashboard"]["Properties"]["DashboardBody"]["Fn::Sub"][
        0
    ]
    shown = {
        row[1] if row[0] in {NAMESPACE, "."} else ""
        for widget in json.loads(body)["widgets"]
        for row in widget["properties"].get("metrics", [])
        if len(row) > 1 and widget["properties"]["metrics"][0][0] == NAMESPACE
    }
    assert len(shown) > 5
    assert shown - {""} <= emitted


def test_alarm_descriptions_refer_to_documented_questions() -> None:
    questions = set(re.findall(r"^### \d+\. (.+)$", PAGE, re.MULTILINE))
    for resource in MONITORING["Resources"].values():
        if resource["Type"] == "AWS::CloudWatch::Alarm":
            (named,) = re.findall(r'"(.+)"', resource["Properties"]["AlarmDescription"])
            assert named in questions


def test_commands_use_existing_stack_outputs() -> None:
    names = set(re.findall(r"\$\(output (\w+)\)|`(\w+)` output", PAGE))
    assert names
    assert {one or other for one, other in names} <= TEMPLATE["Outputs"].keys()
