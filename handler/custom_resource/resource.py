"""CloudFormation's lifecycle: one event in, exactly one answer out.

`custom_resource` is crhelper's part of it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
import time
import traceback
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from custom_resource.continuation import CONTINUATION_KEY, Continuation
from custom_resource.crhelper_adapter import CustomResource
from custom_resource.metrics import InvocationMetrics
from custom_resource.response import CustomResourceResponse, deliver, failed_physical_id
from ecr_image_replicator.aws.invocation import arn_of_version, invoke_later, is_function_arn
from ecr_image_replicator.copy.progress import LoggedProgress
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.errors import OutOfTimeError, ReplicationError
from ecr_image_replicator.request.parsing import parse_request, parse_untagging
from ecr_image_replicator.request.properties import property_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ecr_image_replicator.replicate import Replicator

_LOGGER: Final = logging.getLogger(__name__)
#: Kept for the answer, of the time that there is: a tenth, within these bounds and half of it.
_MIN_RESERVE_SECONDS: Final = 2.0
_MAX_RESERVE_SECONDS: Final = 20.0
#: The resource in template.yaml by which the function's own stack asks whether it works.
_SETTINGS_TYPE: Final = "Custom::FunctionSettings"
#: Its properties that are not the function's settings.
_OF_THE_RESOURCE: Final = frozenset({"ServiceToken", "ServiceTimeout"})
_ROUNDS: Final = 100_000
#: Requests whose answers are remembered, for deliveries of the same event that come later.
_MAX_ANSWERED: Final = 64


class ReplicationResource(CustomResource):
    """The custom resource.

    Parameters
    ----------
    replicator
        Gives the engine, made when first asked for.
    invoke
        Has the function with an ARN invoked with an event, later; given so many seconds for it.

    Attributes
    ----------
    measures
        Of the event that was answered last; None where nothing was to be copied.
    """

    def __init__(
        self,
        replicator: Callable[[], Replicator],
        *,
        invoke: Callable[[str, Mapping[str, Any], float], None] = invoke_later,
    ) -> None:
        super().__init__()
        self._replicator = replicator
        self._invoke = invoke
        self._lock = threading.Lock()
        self._body: dict[str, Any] | None = None
        self._answered: OrderedDict[tuple[str, str, str], dict[str, Any]] = OrderedDict()
        self._run = Continuation(0)
        self._span_seconds = self._reserve_seconds = 0.0
        self._streams = 1
        self._deadline = Deadline(0)
        self._progress = LoggedProgress()
        self._cause = ""
        self._is_dry_run = False
        self.metrics: InvocationMetrics | None = None
        self.create(self._replicate)
        self.update(self._replicate)
        self.delete(self._untag)

    def answer(self, event: Mapping[str, Any], context: Any) -> dict[str, Any]:
        """Handle an event and give the body that it was answered with.

        Never raises: whatever happens is an answer. An event without an https response URL is
        answered by the return value alone.
        """
        began_at = time.monotonic()
        self.metrics = None
        complete = _complete(event, context)
        before = self._answered.get(_identity(complete))
        if before is not None:
            _LOGGER.info("this request was answered before; the event came once more")
            return before
        with self._lock:
            self._body = None
        self._cause, self._is_dry_run = "", False
        self._run = Continuation.of(complete, now=time.time())
        self._deadline = self._new_deadline(context.get_remaining_time_in_millis() / 1000)
        self._progress = LoggedProgress()
        self(complete, context)
        # a timer that has just gone off must not live to see the next event
        self._timer.join()
        assert self._body is not None  # noqa: S101 - for mypy: __call__ always sends
        status = self._body["Status"]
        is_copy = complete["RequestType"] != "Delete" and not self._is_dry_run
        is_counted = is_copy or status == "FAILED"
        if is_counted and not _is_own_settings(complete):
            self.metrics = InvocationMetrics(
                status,
                time.monotonic() - began_at,
                is_changed=self.Data.get("Changed") == "true",
                cause=self._cause,
                counts=self._progress.counts(),
            )
        return self._body

    def _new_deadline(self, remaining_seconds: float) -> Deadline:
        """End the work before Lambda does, and before CloudFormation stops to listen."""
        self._reserve_seconds = _reserve_of(remaining_seconds)
        self._span_seconds = remaining_seconds - self._reserve_seconds
        return Deadline(min(self._span_seconds, self._service_seconds))

    @property
    def _service_seconds(self) -> float:
        """Seconds that work may take until CloudFormation has to hear."""
        left_seconds = self._run.time_left_seconds(time.time())
        return left_seconds - _reserve_of(self._run.service_timeout_seconds)

    def generate_physical_id(self, event: Mapping[str, Any]) -> str:
        """Name a resource that was not created; no Delete of that name does anything."""
        return failed_physical_id(event)

    def _replicate(self, event: Mapping[str, Any], _: Any) -> str:
        """Create and Update are the same: make it so."""
        if _is_own_settings(event):
            return self._check_settings(event)
        request = self._run.pinned(parse_request(event["ResourceProperties"]))
        self._is_dry_run = request.dry_run
        _LOGGER.info(
            "started",
            extra={
                "source": str(request.source),
                "destination": str(request.destination),
                "invocation": self._run.invocation,
            },
        )
        replicator = self._replicator()
        self._streams = request.most_streams or replicator.settings.streams
        self._progress = LoggedProgress(replicator.settings.progress_interval_seconds)
        outcome = replicator.replicate(
            request,
            deadline=self._deadline,
            progress=self._progress,
            previous=str(event.get("PhysicalResourceId") or ""),
        )
        self.Data = outcome.attributes()
        _LOGGER.info("done", extra={"result": self.Data})
        return outcome.physical_resource_id

    def _check_settings(self, event: Mapping[str, Any]) -> str:
        """Respond to the function's own stack: its settings can be read.

        The id is another for other settings, so that a version is published for each.
        """
        self._replicator()
        settings = json.dumps(_settings(event["ResourceProperties"]), sort_keys=True).encode()
        # slow to guess from, as a proxy's password is among them
        digest = hashlib.pbkdf2_hmac("sha256", settings, event["StackId"].encode(), _ROUNDS)
        return f"settings-{digest.hex()[:16]}"

    def _untag(self, event: Mapping[str, Any], _: Any) -> None:
        """Delete: retain everything, or remove the tags that still hold what was put."""
        request = parse_untagging(
            str(event.get("PhysicalResourceId", "")), event["ResourceProperties"]
        )
        if request is None:
            _LOGGER.info("deleted; the image and its tags are retained")
            return
        _LOGGER.info("removing tags", extra={"destination": str(request.destination)})
        self._replicator().untag(request, deadline=self._deadline)

    def _wrap_function(self, func: Callable[..., Any]) -> None:
        self.NoEcho = False
        try:
            self.PhysicalResourceId = func(self._event, self._context) or ""
        except OutOfTimeError as error:
            self._fail(self._continue_or_explain(error.render(property_name)), _cause_of(error))
        except ReplicationError as error:
            self._fail(error.render(property_name), _cause_of(error))
        except Exception as error:  # noqa: BLE001 - the stack must hear of a defect too
            frames = traceback.extract_tb(error.__traceback__)
            # messages of foreign exceptions may quote URLs and credentials: places only
            places = [f"{os.path.basename(f.filename)}:{f.lineno} {f.name}" for f in frames]  # noqa: PTH119
            _LOGGER.error("defect", extra={"kind": type(error).__name__, "places": places})
            self._fail(
                f"the replicator has a defect, a {type(error).__name__} at {places[-1]}; please "
                "report it",
                "Defect",
            )

    def _fail(self, reason: str, cause: str) -> None:
        self.Status, self.Reason, self.Data = "FAILED", reason, {}
        # what the timer stopped has failed for want of time, whatever it says
        self._cause = self._cause or cause

    def _set_timeout(self) -> None:
        """Respond halfway into the reserve even if the engine is still running."""
        seconds = self._deadline.remaining_seconds + self._reserve_seconds / 2
        self._timer = threading.Timer(seconds, self._timeout)
        self._timer.daemon = True
        self._timer.start()

    def _timeout(self) -> None:
        self._cause = self._cause or "OutOfTime"
        self._deadline.stop()
        reason = self._continue_or_explain(
            f"the time was over: {self._progress.summary()}; give the function a longer timeout "
            "or more memory, or deploy again: what has been copied is not copied twice"
        )
        self._send("FAILED", reason)

    def _continue_or_explain(self, reason: str) -> str:
        """Hand the work to another invocation, which will answer then; else say why not."""
        arn = arn_of_version(
            str(getattr(self._context, "invoked_function_arn", "")),
            str(getattr(self._context, "function_version", "")),
        )
        is_local = "AWS_SAM_LOCAL" in os.environ or not is_function_arn(arn)
        with self._lock:
            snapshot = self._progress.snapshot()
            is_heard = self._response_url.startswith("https://")
            if self._body is not None or is_local or not is_heard or snapshot.pinned is None:
                return reason
            try:
                run = self._run.next_run(
                    snapshot,
                    streams=self._streams,
                    span_seconds=self._span_seconds,
                    left_seconds=self._service_seconds,
                )
                # the other half is for answering, should that not work
                budget_seconds = self._context.get_remaining_time_in_millis() / 2000
                self._invoke(arn, {**self._event, CONTINUATION_KEY: run.fields()}, budget_seconds)
            except ReplicationError as error:
                return f"{reason}; it cannot go on in another invocation: {error}"
            self._body = {
                "Status": "CONTINUED",
                "StackId": self._event["StackId"],
                "RequestId": self._event["RequestId"],
                "LogicalResourceId": self._event["LogicalResourceId"],
            }
            shown = {**run.fields(), "Layers": len(run.layers)}
            _LOGGER.info("goes on in another invocation", extra={CONTINUATION_KEY.lower(): shown})
        return ""

    def _send(self, status: str | None = None, reason: str = "", **_: Any) -> None:
        """CustomResourceResponse, the first time that it is called for an event."""
        with self._lock:
            if self._body is not None:
                return
            event = self._event
            final = status or self.Status
            sentence = reason or self.Reason
            answer = CustomResourceResponse(
                status=final,
                physical_resource_id=("" if final == "FAILED" else self.PhysicalResourceId)
                or failed_physical_id(event),
                stack_id=event["StackId"],
                request_id=event["RequestId"],
                logical_resource_id=event["LogicalResourceId"],
                reason=f"{sentence}; see the log stream {self._context.log_stream_name}"
                if final == "FAILED"
                else "",
                data={} if final == "FAILED" else self.Data,
            )
            self._body = answer.body()
            if final == "FAILED":
                _LOGGER.error("failed", extra={"reason": sentence})
            if self._response_url.startswith("https://"):
                left_seconds = self._context.get_remaining_time_in_millis() / 1000
                with self._progress.stage("answer"):
                    is_taken = deliver(
                        self._response_url, self._body, budget_seconds=left_seconds - 0.2
                    )
                if is_taken:
                    self._remember(self._body)

    def _remember(self, body: dict[str, Any]) -> None:
        self._answered[_identity(self._event)] = body
        if len(self._answered) > _MAX_ANSWERED:
            self._answered.popitem(last=False)


def _reserve_of(seconds: float) -> float:
    """Give what is kept of so many seconds for the answer, or for going on another time."""
    wanted = min(_MAX_RESERVE_SECONDS, max(_MIN_RESERVE_SECONDS, seconds / 10))
    return min(wanted, seconds / 2)


def _identity(event: Mapping[str, Any]) -> tuple[str, str, str]:
    return event["StackId"], event["RequestId"], event["RequestType"]


def _is_own_settings(event: Mapping[str, Any]) -> bool:
    return event.get("ResourceType") == _SETTINGS_TYPE


def _settings(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Give what is different where Lambda finds the function different, and nowhere else.

    It publishes no version of a function that is as before, and an id that is another for such a
    function would ask for one. Lists are the subnets and security groups, which have no order.
    """
    return {
        name: sorted(set(map(str, value))) if isinstance(value, list) else value
        for name, value in properties.items()
        if name not in _OF_THE_RESOURCE
    }


def _cause_of(error: ReplicationError) -> str:
    """Name the kind of an error of our tree, for counting."""
    return type(error).__name__.removesuffix("Error")


def _complete(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Give an event every field that CloudFormation's have, as one typed by hand may lack them."""
    complete = {
        "RequestType": "Create",
        "ResponseURL": "",
        "StackId": "direct-invocation",
        "RequestId": context.aws_request_id,
        "LogicalResourceId": "DirectInvocation",
        **{name: value for name, value in event.items() if not name.startswith("CrHelper")},
    }
    for name in ("RequestType", "ResponseURL", "StackId", "RequestId", "LogicalResourceId"):
        complete[name] = str(complete[name])
    properties = complete.get("ResourceProperties")
    complete["ResourceProperties"] = properties if isinstance(properties, dict) else {}
    return complete
