"""One CloudFormation request in one invocation: its deadline, its progress, its only response."""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from custom_resource.continuation import Continuation
from custom_resource.deadlines import reserve_seconds
from custom_resource.failures import DefectError, known_error, render, with_log_stream
from custom_resource.metrics import InvocationMetrics
from custom_resource.response import (
    CustomResourceResponse,
    UndeliveredResponseError,
    deliver,
    failed_physical_id,
    interim_output,
)
from custom_resource.sns import CONTINUATION_KEY
from ecr_image_replicator.aws.invocation import is_function_arn, unqualified_arn
from ecr_image_replicator.copy.progress import LoggedProgress
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.errors import OutOfTimeError, ReplicationError
from ecr_image_replicator.registry.http.pools import ClientContext
from ecr_image_replicator.trust_store import response_context

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Invoke = Callable[[str, Mapping[str, Any], float], None]

_LOGGER: Final = logging.getLogger(__name__)
#: Lambda stops the function at its timeout; the response must have been delivered before.
_DELIVERY_MARGIN_SECONDS: Final = 0.2


class FailedRequestError(Exception):
    """The request failed; the text is the Reason without the log stream."""


class Invocation:
    """A request while it is served. Every attribute belongs to this request alone.

    Parameters
    ----------
    event
        With every field that CloudFormation sends.
    context
        Lambda's.
    response_url
        Where the response is delivered; "" when it is only returned.
    invoke
        Invokes a function asynchronously: its ARN, the event, the seconds for it.
    is_from_topic
        Whether the request was received through SNS.

    Attributes
    ----------
    deadline
        When work must end.
    progress
        How far the copy is.
    streams
        The number of blobs copied at the same time.
    is_dry_run
        Whether nothing is copied.
    response
        The body of the response; None until there is one.
    """

    def __init__(
        self,
        event: Mapping[str, Any],
        context: Any,
        *,
        response_url: str,
        invoke: Invoke,
        is_from_topic: bool = False,
    ) -> None:
        self.is_from_topic: Final = is_from_topic
        self.event: Final = event
        self._context: Final = context
        self._response_url: Final = response_url
        self._invoke: Final = invoke
        self.continuation: Final = Continuation.of(event, now=time.time())
        remaining_seconds = context.get_remaining_time_in_millis() / 1000
        self._reserve_seconds: Final = reserve_seconds(remaining_seconds)
        self._span_seconds: Final = remaining_seconds - self._reserve_seconds
        self.deadline: Final = Deadline(min(self._span_seconds, self._service_seconds))
        self.progress = LoggedProgress()
        self.streams = 1
        self.is_dry_run = False
        self.response: dict[str, Any] | None = None
        self._started_at: Final = time.monotonic()
        self._lock: Final = threading.Lock()
        self._timer: threading.Timer | None = None
        self._cause = ""
        self._is_changed = False
        self._is_delivered = False

    @property
    def is_delivered(self) -> bool:
        """Whether CloudFormation accepted the response."""
        return self._is_delivered

    def run(self, work: Callable[[], str]) -> str:
        """Run the request's work and return the physical resource ID.

        Raises
        ------
        FailedRequestError
            It failed, or continues in another invocation.
        """
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - every exception becomes a response
            known = known_error(error)
            reason = render(known)
            # after the timer has stopped the work, whatever it raises has timed out
            self._cause = self._cause or known.kind
            if isinstance(known, OutOfTimeError):
                reason = self._continue_or_explain(reason)
        raise FailedRequestError(reason)

    def start_timer(self) -> threading.Timer:
        """Start the timer that responds in the middle of the reserve if work has not ended."""
        seconds = self.deadline.remaining_seconds + self._reserve_seconds / 2
        self._timer = threading.Timer(seconds, self.expire)
        self._timer.daemon = True
        self._timer.start()
        return self._timer

    def expire(self) -> None:
        """Stop the work; continue in another invocation, or respond FAILED."""
        self._cause = self._cause or OutOfTimeError("").kind
        self.deadline.stop()
        reason = self._continue_or_explain(
            f"timed out: {self.progress.summary()}. Increase MemorySize or Timeout of the "
            "function, or deploy again: copied blobs are reused."
        )
        self.respond("FAILED", "", reason=reason)

    def respond(
        self,
        status: str,
        physical_resource_id: str,
        *,
        reason: str = "",
        data: Mapping[str, str] | None = None,
    ) -> None:
        """Build and deliver the response. Only the first call has an effect."""
        with self._lock:
            if self.response is not None:
                return
            is_failure = status == "FAILED"
            self._is_changed = (data or {}).get("Changed") == "true"
            self.response = CustomResourceResponse(
                status=status,
                physical_resource_id=("" if is_failure else physical_resource_id)
                or failed_physical_id(self.event),
                stack_id=self.event["StackId"],
                request_id=self.event["RequestId"],
                logical_resource_id=self.event["LogicalResourceId"],
                reason=with_log_stream(reason, self._context) if is_failure else "",
                data={} if is_failure else data or {},
            ).body()
            if is_failure:
                _LOGGER.error("failed", extra={"reason": reason})
            if self._response_url:
                self._deliver(self.response)

    def respond_to_error(self, error: ReplicationError) -> None:
        """Respond FAILED before any work."""
        self._cause = error.kind
        self.respond("FAILED", "", reason=render(error))

    def respond_to_defect(self) -> None:
        """Respond FAILED for an exception outside the work."""
        self.respond_to_error(
            DefectError("internal error: the request ended without a response", hint="Report it.")
        )

    def finish(self) -> dict[str, Any]:
        """Return the response's body when nothing runs any more.

        Raises
        ------
        UndeliveredResponseError
            CloudFormation did not accept it: as a function error, it makes Lambda invoke the
            failure responder.
        """
        if self._timer is not None:
            self._timer.cancel()
            # a timer that has just fired must not see the next request
            self._timer.join()
        if self.response is None:
            self.respond_to_defect()
        assert self.response is not None  # noqa: S101 - for mypy
        is_expected = self._response_url and self.response["Status"] != "CONTINUED"
        if is_expected and not self._is_delivered:
            raise UndeliveredResponseError
        return self.response

    def metrics(self) -> InvocationMetrics | None:
        """Return what this invocation counts as; None for a Delete or dry run without a failure."""
        status = self.response["Status"] if self.response is not None else "FAILED"
        is_copy = self.event["RequestType"] != "Delete" and not self.is_dry_run
        if not is_copy and status != "FAILED":
            return None
        return InvocationMetrics(
            status,
            time.monotonic() - self._started_at,
            is_changed=self._is_changed,
            cause=self._cause,
            counts=self.progress.counts(),
        )

    @property
    def _service_seconds(self) -> float:
        """Seconds that work may take before CloudFormation must have its response."""
        left_seconds = self.continuation.time_left_seconds(time.time())
        return left_seconds - reserve_seconds(self.continuation.service_timeout_seconds)

    def _deliver(self, body: Mapping[str, Any]) -> None:
        left_seconds = self._context.get_remaining_time_in_millis() / 1000
        with self.progress.stage("respond"):
            self._is_delivered = deliver(
                self._response_url,
                body,
                budget_seconds=left_seconds - _DELIVERY_MARGIN_SECONDS,
                tls=response_context(ClientContext),
            )

    def _continue_or_explain(self, reason: str) -> str:
        """Continue in another invocation, which then responds; otherwise return why not."""
        arn = unqualified_arn(str(getattr(self._context, "invoked_function_arn", "")))
        is_local = "AWS_SAM_LOCAL" in os.environ or not is_function_arn(arn)
        with self._lock:
            snapshot = self.progress.snapshot()
            has_responded = self.response is not None
            if has_responded or is_local or not self._response_url or snapshot.pinned is None:
                return reason
            try:
                following = self.continuation.next_run(
                    snapshot,
                    streams=self.streams,
                    span_seconds=self._span_seconds,
                    left_seconds=self._service_seconds,
                )
                event = {**self.event, CONTINUATION_KEY: following.fields()}
                # the other half is for a response if this fails
                budget_seconds = self._context.get_remaining_time_in_millis() / 2000
                self._invoke(arn, event, budget_seconds)
            except Exception as error:  # noqa: BLE001 - the response must be sent all the same
                found = render(known_error(error))
                return _joined(reason, f"cannot continue in another invocation: {found}")
            self.response = interim_output(self.event, "CONTINUED")
            shown = {**following.fields(), "Layers": len(following.layers)}
            _LOGGER.info("continues in another invocation", extra={"continuation": shown})
        return ""


def _joined(first: str, second: str) -> str:
    return f"{first.removesuffix('.')}. {second[:1].upper()}{second[1:]}"
