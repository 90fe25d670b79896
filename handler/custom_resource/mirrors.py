"""Mirrors as custom resources: requests become runs, and a run's end becomes the response.

docs/mirrors.md has the cases; the steps themselves are in `ecr_image_replicator.mirror`.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from custom_resource.deadlines import reserve_seconds
from custom_resource.event_fields import complete_event
from custom_resource.failures import as_function_error, known_error, render, with_log_stream
from custom_resource.mirror_ids import mirror_id
from custom_resource.mirror_responses import (
    RUN_SECONDS,
    failure_of,
    response_body,
    run_seconds,
    scheduled_name,
)
from custom_resource.response import (
    UndeliveredResponseError,
    allowed_hosts,
    deliver,
    interim_output,
    is_allowed_url,
    is_https,
)
from custom_resource.topics import check_topic
from ecr_image_replicator.aws.invocation import unqualified_arn
from ecr_image_replicator.aws.mirrors import (
    MirrorExecutions,
    MirrorResources,
    MirrorSchedules,
    ObjectStore,
    execution_arn,
)
from ecr_image_replicator.aws.sessions import AwsAccess
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.errors import NotAllowedError, ReplicationError, RequestError, Side
from ecr_image_replicator.mirror.items import WorkItem
from ecr_image_replicator.mirror.report import MirrorReport
from ecr_image_replicator.mirror.state import Run
from ecr_image_replicator.mirror.steps import SCHEDULED, MirrorSteps, StoredRequest
from ecr_image_replicator.mirror.summary import summarise
from ecr_image_replicator.registry.http.pools import ClientContext
from ecr_image_replicator.request.mirror_parsing import parse_mirror
from ecr_image_replicator.retries import RetryPolicy
from ecr_image_replicator.trust_store import response_context

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ecr_image_replicator.mirror.report import ChoiceSummary
    from ecr_image_replicator.mirror.state import Runs, Schedules, StateStore
    from ecr_image_replicator.replicate import Replicator
    from ecr_image_replicator.request.mirror import MirrorRequest

_LOGGER: Final = logging.getLogger(__name__)
MIRROR_KEY: Final = "Mirror"
_DELIVERY_MARGIN_SECONDS: Final = 0.5
#: For the response of a run that a deletion stops.
_STOPPED_SECONDS: Final = 5.0


class MirrorResource:
    """Mirrors of one process.

    Parameters
    ----------
    replicator
        Returns the engine, which is made on first use.
    resources
        Returns the bucket and the state machine; None when mirrors are not enabled.
    clock
        Seconds since 1970.
    """

    def __init__(
        self,
        replicator: Callable[[], Replicator],
        resources: Callable[[], MirrorResources | None],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._replicator = replicator
        self._resources = resources
        self._clock = clock
        self._aws = AwsAccess()

    def respond(
        self, event: Mapping[str, Any], context: Any, *, is_from_topic: bool = False
    ) -> dict[str, Any]:
        """Serve a CloudFormation request and return the body of its response.

        A run that was started has no response yet: its last step sends it.

        Raises
        ------
        UndeliveredResponseError
            CloudFormation did not accept the response.
        """
        request = complete_event(event, context)
        url = request["ResponseURL"]
        status, reason, data = "FAILED", "", {}
        try:
            if is_https(url) and not is_allowed_url(url, allowed_hosts()):
                url = ""
                raise NotAllowedError("the host of ResponseURL is not allowed")
            served = self._serve(request, context, is_from_topic=is_from_topic)
            if served is None:
                return interim_output(request, "STARTED")
            status, data = "SUCCESS", served
        except Exception as error:  # noqa: BLE001 - every exception becomes a response
            reason = render(known_error(error))
        body = response_body(request, status, with_log_stream(reason, context), data)
        self._deliver(url, body, context)
        return body

    def step(self, event: Mapping[str, Any], context: Any) -> dict[str, Any]:
        """Serve one step of a run and return its output.

        Raises
        ------
        ReplicationError
            The event is invalid, AWS rejected a call, or there is a defect.
        UndeliveredResponseError
            CloudFormation did not accept the response.
        """
        try:
            fields = event[MIRROR_KEY]
            if not isinstance(fields, dict):
                raise RequestError("invalid Mirror: it is not a map")
            match fields.get("Step"):
                case "Start":
                    return self._start_scheduled(fields, context)
                case "Choose":
                    return self._choose(Run.parse(fields.get("Run")), context)
                case "Copy":
                    steps, deadline = self._open_steps(context)
                    return steps.copy(WorkItem.parse(fields), _retries(event), deadline)
                case "Summarise":
                    return self._summarise(Run.parse(fields.get("Run")), context)
            raise RequestError("invalid Step. Use Start, Choose, Copy or Summarise.")
        except UndeliveredResponseError:
            raise
        except Exception as error:  # noqa: BLE001 - other messages may quote secrets
            raised = as_function_error(error)
        raise raised from None

    def _serve(
        self, event: Mapping[str, Any], context: Any, *, is_from_topic: bool
    ) -> dict[str, str] | None:
        """Return the values to respond with; None when a run was started."""
        if event["RequestType"] == "Delete":
            if is_from_topic and self._has_state(event, context):
                check_topic(self._replicator().settings)
            self._delete(event, context)
            return {}
        if event["RequestType"] not in {"Create", "Update"}:
            raise RequestError("invalid RequestType: CloudFormation sends Create, Update, Delete")
        properties = event["ResourceProperties"]
        mirror = parse_mirror(properties)
        if is_from_topic:
            check_topic(self._replicator().settings)
        resources = self._enabled()
        if mirror.schedule and not resources.schedule_group:
            raise RequestError("invalid Schedule: the function has no schedule group")
        run = Run.of_request(mirror_id(event), event["RequestId"])
        steps, deadline = self._open_steps(context)
        if mirror.dry_run:
            return self._preview_values(run, steps.preview(run, mirror, deadline))
        self._start(run, event, run_seconds(mirror, properties), deadline)
        return None

    def _has_state(self, event: Mapping[str, Any], context: Any) -> bool:
        """Return whether there is anything to delete: a Create that was rejected left nothing."""
        if self._resources() is None:
            return False
        prefix = Run(mirror_id(event), "x").mirror_prefix
        return bool(self._store(_deadline(context)).find_keys(prefix))

    def _start(
        self, run: Run, event: Mapping[str, Any], seconds: float, deadline: Deadline
    ) -> None:
        """Start the run of a request, once; a duplicate of an older event stops no newer run."""
        runs, store = self._runs(deadline), self._store(deadline)
        is_first = store.read(run.request) is None
        if is_first:
            for name in list(runs.running(f"{run.mirror}-")):
                if name != run.execution_name:
                    runs.stop(name, "the mirror was updated")
            now = self._clock()
            store.write(run.request, StoredRequest(dict(event), now, now + seconds).render())
        if not runs.start(run.execution_name, str(run)):
            _LOGGER.info("duplicate delivery of an event whose run has ended")
            if is_first:  # the mirror was deleted meanwhile
                store.delete([run.request])

    def _delete(self, event: Mapping[str, Any], context: Any) -> None:
        """Stop the mirror's runs; delete its schedule and its state."""
        if self._resources() is None:
            return
        deadline = _deadline(context)
        mirror = mirror_id(event)
        runs = self._runs(deadline)
        prefix = f"{mirror}-"
        for name in list(runs.running(prefix)):
            runs.stop(name, "the mirror was deleted")
            self._respond_for_stopped(Run(mirror, name.removeprefix(prefix)), context)
        self._schedules(deadline, context).remove(mirror)
        store = self._store(deadline)
        store.delete(store.find_keys(Run(mirror, "x").mirror_prefix))

    def _respond_for_stopped(self, run: Run, context: Any) -> None:
        """Respond for a run that a deletion stopped; its stored request is deleted next."""
        try:
            request = StoredRequest.read(self._store(_deadline(context)), run)
            reason = "the mirror's run was stopped: the mirror was deleted"
            self._finish(run, request, reason, {}, context, most_seconds=_STOPPED_SECONDS)
        except (ReplicationError, UndeliveredResponseError) as error:
            # CloudFormation has moved on to the deletion
            _LOGGER.warning("no response for a stopped run: %s", type(error).__name__)

    def _start_scheduled(self, fields: Mapping[str, Any], context: Any) -> dict[str, Any]:
        """Start a run of a schedule, unless one of the mirror's is going on."""
        first = Run.parse(fields.get("Run"))
        deadline = _deadline(context)
        runs, store = self._runs(deadline), self._store(deadline)
        if any(runs.running(f"{first.mirror}-")):
            _LOGGER.info("a run of this mirror is going on; nothing is started")
            return {"Started": False}
        request = StoredRequest.read(store, first)
        # a lifecycle rule must not expire what the schedule needs
        store.write(first.request, request.render())
        now = self._clock()
        run = Run.parse(f"{first.mirror}/{scheduled_name(fields.get('At'), now)}")
        event = {name: value for name, value in request.event.items() if name != "ResponseURL"}
        stored = StoredRequest({**event, SCHEDULED: True}, now, now + RUN_SECONDS)
        store.write(run.request, stored.render())
        return {"Started": runs.start(run.execution_name, str(run))}

    def _choose(self, run: Run, context: Any) -> dict[str, Any]:
        steps, deadline = self._open_steps(context)
        chosen = steps.choose(run, deadline)
        store = self._store(deadline)
        if not chosen.error and chosen.request.response_url:
            mirror = chosen.request.mirror()
            if mirror.completes_when_started:
                try:
                    self._update_schedule(run, mirror, deadline, context)
                except ReplicationError as error:
                    steps.reject(run, render(error))
                    return {"Hosts": []}
                report = MirrorReport(chosen.summary)
                self._finish(run, chosen.request, "", self._values(run, report), context)
        return {"Hosts": [each.as_json(store.bucket) for each in chosen.hosts]}

    def _summarise(self, run: Run, context: Any) -> dict[str, Any]:
        deadline = _deadline(context)
        store = self._store(deadline)
        platforms = self._replicator().settings.default_platforms
        summary = summarise(store, run, platforms, now=self._clock())
        request = summary.request
        failure = failure_of(run, summary, self._enabled().bucket)
        if not failure and summary.mirror and request.response_url:
            try:
                self._update_schedule(run, summary.mirror, deadline, context)
            except ReplicationError as error:
                failure = render(error)
        values = self._values(run, summary.report)
        self._finish(run, request, failure, values, context)
        return {
            "Run": str(run),
            "Failed": int(values["Failed"]),
            "Left": int(values["Left"]),
            "HasFailed": bool(failure),
        }

    def _finish(
        self,
        run: Run,
        request: StoredRequest,
        failure: str,
        values: Mapping[str, str],
        context: Any,
        *,
        most_seconds: float = float("inf"),
    ) -> None:
        """Send the response if CloudFormation waits for it, then remove its URL from the request.

        Raises
        ------
        UndeliveredResponseError
            CloudFormation did not accept the response.
        """
        if not request.response_url:
            return
        status = "FAILED" if failure else "SUCCESS"
        body = response_body(request.event, status, failure, {} if failure else values)
        url = request.response_url
        allowed = url if is_allowed_url(url, allowed_hosts()) else ""
        self._deliver(allowed, body, context, most_seconds=most_seconds)
        event = {name: value for name, value in request.event.items() if name != "ResponseURL"}
        updated = replace(request, event=event)
        self._store(_deadline(context)).write(run.request, updated.render())

    def _update_schedule(
        self, run: Run, mirror: MirrorRequest, deadline: Deadline, context: Any
    ) -> None:
        schedules = self._schedules(deadline, context)
        if not mirror.schedule:
            schedules.remove(run.mirror)
            return
        event = {
            MIRROR_KEY: {
                "Step": "Start",
                "Run": str(run),
                "At": "<aws.scheduler.scheduled-time>",
            }
        }
        schedules.put(run.mirror, mirror.schedule, mirror.schedule_timezone, event)

    def _values(self, run: Run, report: MirrorReport) -> dict[str, str]:
        resources = self._enabled()
        return {
            **report.values(),
            "ReportUri": f"s3://{resources.bucket}/{run.report}",
            "ExecutionArn": execution_arn(resources.machine_arn, run.execution_name),
        }

    def _preview_values(self, run: Run, summary: ChoiceSummary) -> dict[str, str]:
        return {**self._values(run, MirrorReport(summary)), "ExecutionArn": ""}

    def _deliver(
        self,
        url: str,
        body: Mapping[str, Any],
        context: Any,
        *,
        most_seconds: float = float("inf"),
    ) -> None:
        if not is_https(url):
            return
        left_seconds = context.get_remaining_time_in_millis() / 1000
        budget_seconds = min(left_seconds - _DELIVERY_MARGIN_SECONDS, most_seconds)
        tls = response_context(ClientContext)
        if not deliver(url, body, budget_seconds=budget_seconds, tls=tls):
            raise UndeliveredResponseError

    def _open_steps(self, context: Any) -> tuple[MirrorSteps, Deadline]:
        deadline = _deadline(context)
        # results are written in the time that is reserved
        store = self._store(_deadline(context, reserves=False))
        steps = MirrorSteps(self._replicator(), store, clock=self._clock)
        return steps, deadline

    def _enabled(self) -> MirrorResources:
        resources = self._resources()
        if resources is None:
            raise RequestError(
                "mirrors are not allowed: the function has no bucket for them (required)",
                hint="Set MirrorBucket when you deploy the function.",
            )
        return resources

    def _caller(self, deadline: Deadline) -> Any:
        return self._aws.open_caller(
            None, Side.SOURCE, deadline=deadline, retry_policy=RetryPolicy()
        )

    def _store(self, deadline: Deadline) -> StateStore:
        return ObjectStore(self._caller(deadline), self._enabled().bucket)

    def _runs(self, deadline: Deadline) -> Runs:
        return MirrorExecutions(self._caller(deadline), self._enabled().machine_arn)

    def _schedules(self, deadline: Deadline, context: Any) -> Schedules:
        function = unqualified_arn(str(context.invoked_function_arn))
        return MirrorSchedules(self._caller(deadline), self._enabled(), function)


def _retries(event: Mapping[str, Any]) -> int:
    retries = event.get("RetryCount", 0)
    return retries if isinstance(retries, int) else 0


def _deadline(context: Any, *, reserves: bool = True) -> Deadline:
    remaining_seconds = context.get_remaining_time_in_millis() / 1000
    reserved_seconds = reserve_seconds(remaining_seconds) if reserves else _DELIVERY_MARGIN_SECONDS
    return Deadline(remaining_seconds - reserved_seconds)
