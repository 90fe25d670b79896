"""The state machine on loopback: moto runs the definition, processes run the handler."""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from local.aws import LoopbackAws
from local.certificates import CertificateAuthority
from local.cloudformation import CloudFormationEndpoint
from moto import mock_aws
from moto.stepfunctions.parser.asl.eval.event.event_manager import EventManager
from tests.interop.function_pool import FunctionPool
from tests.moto_server import running_moto

from custom_resource.mirror_ids import mirror_id

REGION = "eu-west-1"
BUCKET = "mirrors-of-tests"
FUNCTION = f"arn:aws:lambda:{REGION}:123456789012:function:replicator"
DEFINITION = Path(__file__).parents[2] / "statemachine" / "mirror.asl.json"
_ROLE = "arn:aws:iam::123456789012:role/machine"
_GROUP = "mirrors"
_BUCKET_REQUEST = re.compile(rf"(GET|PUT|DELETE|HEAD) /{BUCKET}([/?])")


def definition() -> str:
    """Return the definition with retry intervals of one second."""
    text = DEFINITION.read_text().replace("${Partition}", "aws").replace("${FunctionArn}", FUNCTION)
    document = json.loads(text)
    _shorten(document)
    return json.dumps(document)


def _shorten(part: Any) -> None:
    if isinstance(part, dict):
        if "IntervalSeconds" in part:
            part["IntervalSeconds"] = 1
        for value in part.values():
            _shorten(value)
    elif isinstance(part, list):
        for value in part:
            _shorten(value)


@dataclass(frozen=True, slots=True)
class HistoryEvent:
    """An event of an execution's history, its details as text."""

    kind: str
    details: str


class History:
    """What moto's interpreter executed, the children of Distributed Maps included.

    AWS keeps a history for each child; moto keeps none that its API returns.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._lock = threading.Lock()
        self._events: list[HistoryEvent] = []
        original = EventManager.add_event

        def add_event(
            manager: EventManager,
            context: Any,
            event_type: Any,
            event_details: Any = None,
            **more: Any,
        ) -> int:
            details = json.dumps(event_details or {}, default=str)
            with self._lock:
                self._events.append(HistoryEvent(str(event_type.value), details))
            return original(manager, context, event_type, event_details, **more)

        patch.setattr(EventManager, "add_event", add_event)

    @property
    def events(self) -> list[HistoryEvent]:
        """Every event so far, in order."""
        with self._lock:
            return list(self._events)

    def find(self, kind: str, text: str) -> list[int]:
        """Return the positions of the events of a kind whose details have a text."""
        return [
            position
            for position, each in enumerate(self.events)
            if each.kind == kind and text in each.details
        ]

    @property
    def transitions(self) -> int:
        """How many states were entered: what Step Functions charges for."""
        return sum(each.kind.endswith("StateEntered") for each in self.events)

    def clear(self) -> None:
        """Forget the events so far."""
        with self._lock:
            self._events.clear()


class BucketRequests(logging.Handler):
    """The requests to the bucket over HTTP, which are all but Step Functions' own.

    moto's server logs each request.
    """

    def __init__(self) -> None:
        super().__init__()
        self._counts: Counter[str] = Counter()

    @property
    def counts(self) -> Counter[str]:
        """The number of requests by method; LIST for those of the bucket itself."""
        return Counter(self._counts)

    def emit(self, record: logging.LogRecord) -> None:
        """Count a request of the server's log."""
        found = _BUCKET_REQUEST.search(record.getMessage())
        if found:
            self._counts["LIST" if found[2] == "?" else found[1]] += 1

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count until the end of the context."""
        logger = logging.getLogger("werkzeug")
        logger.addHandler(self)
        try:
            yield
        finally:
            logger.removeHandler(self)


@dataclass
class Machine:
    """A deployed mirror: state machine, function, bucket and CloudFormation endpoint."""

    pool: FunctionPool
    cloudformation: CloudFormationEndpoint
    arn: str
    states: Any
    s3: Any
    scheduler: Any
    history: History
    bucket_requests: BucketRequests
    seconds: dict[int, list[float]] = field(default_factory=dict)

    def event(self, request_type: Any, properties: dict[str, Any], **more: Any) -> dict[str, Any]:
        """Return CloudFormation's event for a mirror."""
        event = self.cloudformation.event(
            request_type, properties, logical_resource_id="Mirror", **more
        )
        return {**event, "ResourceType": "Custom::ECRImageMirror"}

    def limit(self, seconds: int) -> None:
        """Replace the time limit of executions that start from now on."""
        document = json.loads(definition())
        document["TimeoutSeconds"] = seconds
        self.states.update_state_machine(stateMachineArn=self.arn, definition=json.dumps(document))

    def send(self, event: dict[str, Any]) -> dict[str, Any]:
        """Invoke the function with an event, as CloudFormation does."""
        response = self.pool.invoke(event)
        assert "Payload" in response, response
        payload: dict[str, Any] = response["Payload"]
        return payload

    def executions(self, status: str | None = None) -> list[dict[str, Any]]:
        """List executions, the newest first."""
        found: list[dict[str, Any]] = self.states.list_executions(
            stateMachineArn=self.arn, **({"statusFilter": status} if status else {})
        )["executions"]
        return found

    def wait_until_ended(self) -> None:
        """Wait until no execution is running."""
        self.wait_for(lambda: not self.executions("RUNNING"))

    def wait_for(self, condition: Callable[[], bool], seconds: float = 180) -> None:
        """Wait until a condition is true."""
        until = time.monotonic() + seconds
        never = threading.Event()
        while not condition():
            assert time.monotonic() < until, self.pool.log[-3000:]
            never.wait(0.1)

    def read(self, key: str) -> dict[str, Any]:
        """Read an object."""
        content = self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        document: dict[str, Any] = json.loads(content)
        return document

    def run_of(self, event: dict[str, Any]) -> str:
        """Return the run of a request, as events name it."""
        return f"{mirror_id(event)}/{event['RequestId']}"

    def report_of(self, execution: dict[str, Any]) -> dict[str, Any]:
        """Read the report of an execution."""
        name = execution["name"]
        return self.read(f"mirrors/{name[:32]}/{name[33:]}/report.json")

    def list_keys(self) -> list[str]:
        """List every object's key."""
        pages = self.s3.list_objects_v2(Bucket=BUCKET)
        return [each["Key"] for each in pages.get("Contents", [])]

    def schedules(self) -> list[str]:
        """List the names of schedules."""
        return [each["Name"] for each in self.scheduler.list_schedules()["Schedules"]]

    def status_change(self, name: str, status: str) -> dict[str, Any]:
        """Return the event that EventBridge sends when an execution has ended."""
        execution = self.arn.replace(":stateMachine:", ":execution:") + f":{name}"
        return {
            "source": "aws.states",
            "detail-type": "Step Functions Execution Status Change",
            "resources": [execution],
            "detail": {
                "executionArn": execution,
                "stateMachineArn": self.arn,
                "name": name,
                "status": status,
            },
        }


@contextmanager
def deployed(
    tmp_path: Path,
    patch: pytest.MonkeyPatch,
    authority: CertificateAuthority,
    aws: LoopbackAws | None = None,
) -> Iterator[Machine]:
    """Deploy the machine, a bucket and the function.

    With `aws` the function reaches registries and AWS services by their real names; otherwise only
    moto, and registries on loopback.
    """
    for name, value in {
        "AWS_ACCESS_KEY_ID": "tests",
        "AWS_SECRET_ACCESS_KEY": "tests",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_CONFIG_FILE": "none",
        "AWS_SHARED_CREDENTIALS_FILE": "none",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        patch.setenv(name, value)
    seconds: dict[int, list[float]] = {}

    def seconds_of(event: dict[str, Any]) -> float:
        mirror = event.get("Mirror", {})
        planned = seconds.get(mirror.get("Entry", -1), [])
        return planned.pop(0) if mirror.get("Step") == "Copy" and planned else 60.0

    pool = FunctionPool(tmp_path, seconds_of)
    endpoint = CloudFormationEndpoint(authority.server_context())
    config: Any = {"stepfunctions": {"execute_state_machine": True}}
    with running_moto() as moto_url, mock_aws(config=config), pool, endpoint:
        patch.setenv("AWS_ENDPOINT_URL_LAMBDA", pool.url)
        s3: Any = boto3.client("s3")
        states: Any = boto3.client("stepfunctions")
        scheduler: Any = boto3.client("scheduler")
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        scheduler.create_schedule_group(Name=_GROUP)
        arn = states.create_state_machine(name="mirrors", definition=definition(), roleArn=_ROLE)[
            "stateMachineArn"
        ]
        pool.configure(
            {
                **_environment(moto_url, aws),
                "MIRROR_BUCKET": BUCKET,
                "MIRROR_STATE_MACHINE": arn,
                "MIRROR_SCHEDULE_GROUP": _GROUP,
                "MIRROR_SCHEDULER_ROLE": _ROLE,
                "RESPONSE_HOSTS": endpoint.host,
                "SSL_CERT_FILE": str(authority.ca_file),
                "POWERTOOLS_LOG_LEVEL": "INFO",
                "POWERTOOLS_METRICS_NAMESPACE": "tests",
            }
        )
        history, requests = History(patch), BucketRequests()
        with requests.counting():
            yield Machine(pool, endpoint, arn, states, s3, scheduler, history, requests, seconds)


def _environment(moto: str, aws: LoopbackAws | None) -> dict[str, str]:
    """Return the variables with the function's AWS endpoints and registries."""
    if aws is not None:
        # services that LoopbackAws lacks
        return {
            **aws.environment,
            "AWS_ENDPOINT_URL_SFN": moto,
            "AWS_ENDPOINT_URL_SCHEDULER": moto,
        }
    return {
        "AWS_ENDPOINT_URL": moto,
        "AWS_ACCESS_KEY_ID": "tests",
        "AWS_SECRET_ACCESS_KEY": "tests",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "PLAIN_HTTP_REGISTRIES": "127.0.0.1",
    }
