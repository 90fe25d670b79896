"""CloudFormation's lifecycle over crhelper: one event in, exactly one answer out.

crhelper dispatches events to hooks, minds the clock and knows the ids. What it does otherwise
than the contract wants is overridden here: it would log the event with its response URL and
credentials, make three AWS clients at import, sleep two minutes on a Delete, send without looking
at the status, cut reasons at 256 characters, and answer twice when its timer and the work end
together.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import traceback
from typing import TYPE_CHECKING, Any, Final

from answers import Answer, deliver
from replicator.deadline import Deadline
from replicator.errors import ReplicationError, RequestError
from replicator.progress import LoggedProgress
from replicator.request import parse_request, parse_untagging

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from replicator.replication import Replicator

_LOGGER: Final = logging.getLogger(__name__)
#: Kept for the answer, of the time that Lambda gives: a tenth, within these bounds.
_MIN_RESERVE_SECONDS: Final = 0.5
_MAX_RESERVE_SECONDS: Final = 20.0


@contextlib.contextmanager
def _without_clients() -> Iterator[None]:
    """Keep crhelper from making AWS clients that only its polling needs, and from the root log."""
    level = logging.root.level
    name = "AWS_SAM_LOCAL"
    before = os.environ.get(name)
    os.environ[name] = "true"
    try:
        yield
    finally:
        logging.root.setLevel(level)
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


with _without_clients():
    from crhelper import CfnResource

# at DEBUG it writes out the whole event, with its response URL and credentials
logging.getLogger("crhelper").setLevel(logging.CRITICAL)


class ReplicationResource(CfnResource):
    """The custom resource.

    Parameters
    ----------
    replicator
        Gives the engine, made when first asked for.
    """

    # crhelper's own, which it does not annotate
    Status: str
    Reason: str
    PhysicalResourceId: str
    RequestType: str
    _event: dict[str, Any]
    _context: Any
    _timer: threading.Timer
    _response_url: str
    _create_func: Callable[..., Any]
    _update_func: Callable[..., Any]
    _delete_func: Callable[..., Any]

    def __init__(self, replicator: Callable[[], Replicator]) -> None:
        with _without_clients():
            super().__init__(log_level="CRITICAL", boto_level="CRITICAL", sleep_on_delete=0)
        self._replicator = replicator
        self._lock = threading.Lock()
        self._body: dict[str, Any] | None = None
        self._deadline = Deadline(0)
        self._progress = LoggedProgress()
        self.create(self._replicate)
        self.update(self._replicate)
        self.delete(self._untag)

    def answer(self, event: Mapping[str, Any], context: Any) -> dict[str, Any]:
        """Handle an event and give the body that it was answered with.

        Never raises: whatever happens is an answer. An event without an https response URL is
        answered by the return value alone.
        """
        complete = _complete(event, context)
        remaining_seconds = context.get_remaining_time_in_millis() / 1000
        reserve_seconds = min(
            _MAX_RESERVE_SECONDS, max(_MIN_RESERVE_SECONDS, remaining_seconds / 10)
        )
        with self._lock:
            self._body = None
        self._deadline = Deadline(remaining_seconds - reserve_seconds)
        self._progress = LoggedProgress()
        self(complete, context)
        # a timer that has just gone off must not live to see the next event
        self._timer.join()
        assert self._body is not None  # noqa: S101 - for mypy: __call__ always sends
        return self._body

    def generate_physical_id(self, event: Mapping[str, Any]) -> str:
        """Name a resource that was not created; no Delete of that name does anything."""
        return f"not-created/{event['LogicalResourceId']}/{event['RequestId']}"

    def _replicate(self, event: Mapping[str, Any], _: Any) -> str:
        """Create and Update are the same: make it so."""
        request = parse_request(event["ResourceProperties"])
        _LOGGER.info(
            "started",
            extra={"source": str(request.source), "destination": str(request.destination)},
        )
        replicator = self._replicator()
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

    def _poll_enabled(self) -> bool:
        """Never poll; crhelper's own would stumble over an unknown RequestType."""
        return False

    def _get_func(self) -> Callable[..., Any]:
        hooks = {
            "Create": self._create_func,
            "Update": self._update_func,
            "Delete": self._delete_func,
        }
        return hooks.get(self.RequestType, _refuse)

    def _wrap_function(self, func: Callable[..., Any]) -> None:
        self.NoEcho = False
        try:
            self.PhysicalResourceId = func(self._event, self._context) or ""
        except ReplicationError as error:
            self._fail(str(error))
        except Exception as error:  # noqa: BLE001 - the stack must hear of a defect too
            frames = traceback.extract_tb(error.__traceback__)
            # messages of foreign exceptions may quote URLs and credentials: places only
            places = [f"{os.path.basename(f.filename)}:{f.lineno} {f.name}" for f in frames]  # noqa: PTH119
            _LOGGER.error("defect", extra={"kind": type(error).__name__, "places": places})
            self._fail(
                f"the replicator has a defect, a {type(error).__name__} at {places[-1]}; please "
                "report it"
            )

    def _fail(self, reason: str) -> None:
        self.Status, self.Reason, self.Data = "FAILED", reason, {}

    def _set_timeout(self) -> None:
        """Answer in good time even if the engine does not let go: halfway into the reserve."""
        left_seconds = self._context.get_remaining_time_in_millis() / 1000
        reserve_seconds = left_seconds - self._deadline.remaining_seconds
        self._timer = threading.Timer(left_seconds - reserve_seconds / 2, self._timeout)
        self._timer.daemon = True
        self._timer.start()

    def _timeout(self) -> None:
        self._deadline.stop()
        self._send(
            "FAILED",
            f"the time was over: {self._progress.summary()}; give the function a longer timeout "
            "or more memory, or deploy again: what has been copied is not copied twice",
        )

    def _send(self, status: str | None = None, reason: str = "", **_: Any) -> None:
        """Answer, the first time that it is called for an event."""
        with self._lock:
            if self._body is not None:
                return
            event = self._event
            final = status or self.Status
            sentence = reason or self.Reason
            answer = Answer(
                status=final,
                physical_resource_id=("" if final == "FAILED" else self.PhysicalResourceId)
                or str(event.get("PhysicalResourceId") or "")
                or self.generate_physical_id(event),
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
                deliver(self._response_url, self._body, budget_seconds=left_seconds - 0.2)

    def _log_setup(self, *_: Any) -> None:
        """Leave logging to the entry point; crhelper would log the event."""


def _refuse(event: Mapping[str, Any], _: Any) -> None:
    raise RequestError(
        f"the RequestType {event['RequestType']!r} is not known; CloudFormation sends Create, "
        "Update and Delete"
    )


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
