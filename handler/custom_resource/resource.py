"""The custom resource: Create and Update replicate an image, Delete keeps it or removes its tags.

`invocation` has the state of one request, `crhelper_adapter` what crhelper contributes.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from custom_resource.crhelper_adapter import REQUEST_TYPES, CustomResourceHelper
from custom_resource.event_fields import complete_event
from custom_resource.invocation import Invocation
from custom_resource.response import allowed_hosts, is_allowed_url, is_https
from custom_resource.topics import check_topic
from ecr_image_replicator.aws.invocation import invoke_later
from ecr_image_replicator.copy.progress import LoggedProgress
from ecr_image_replicator.errors import NotAllowedError, RequestError
from ecr_image_replicator.propagation import PermissionPropagation
from ecr_image_replicator.request.parsing import parse_request, parse_untagging

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from custom_resource.invocation import Invoke
    from custom_resource.metrics import InvocationMetrics
    from ecr_image_replicator.replicate import Replicator

_LOGGER: Final = logging.getLogger(__name__)
#: Delivered responses that are remembered for a duplicate delivery of the same event.
_MAX_REMEMBERED: Final = 64


def _ignore(_metrics: InvocationMetrics) -> None:
    """Record nothing."""


class ReplicationResource:
    """The custom resource of one process. It serves one request at a time.

    Parameters
    ----------
    replicator
        Returns the engine, which is made on first use.
    invoke
        Invokes a function asynchronously: its ARN, the event, the seconds for it.
    """

    def __init__(
        self,
        replicator: Callable[[], Replicator],
        *,
        invoke: Invoke = invoke_later,
    ) -> None:
        self._replicator = replicator
        self._invoke = invoke
        self._delivered: OrderedDict[tuple[str, str, str], dict[str, Any]] = OrderedDict()
        self._helper = helper = CustomResourceHelper()

        @helper.create
        @helper.update
        def replicate(_: Mapping[str, Any], invocation: Invocation) -> str:
            return invocation.run(lambda: self._replicate(invocation))

        @helper.delete
        def delete(_: Mapping[str, Any], invocation: Invocation) -> str:
            return invocation.run(lambda: self._delete(invocation))

    def respond(
        self,
        event: Mapping[str, Any],
        context: Any,
        *,
        is_from_topic: bool = False,
        record: Callable[[InvocationMetrics], None] = _ignore,
    ) -> dict[str, Any]:
        """Serve a request and return the body of its response.

        Parameters
        ----------
        event
            CloudFormation's event. One without an https response URL is responded to by the
            return value alone.
        context
            Lambda's.
        is_from_topic
            Whether the request was received through SNS.
        record
            Takes the metrics, after the response.

        Raises
        ------
        UndeliveredResponseError
            CloudFormation did not accept the response. Nothing else is raised: every failure is a
            response.
        """
        request = complete_event(event, context)
        identity = (request["StackId"], request["RequestId"], request["RequestType"])
        if (delivered := self._delivered.get(identity)) is not None:
            _LOGGER.info("duplicate delivery of an event whose response was delivered")
            return delivered
        url = request["ResponseURL"]
        error = _error_before_work(request, url)
        invocation = Invocation(
            request,
            context,
            response_url=url if is_https(url) and not isinstance(error, NotAllowedError) else "",
            invoke=self._invoke,
            is_from_topic=is_from_topic,
        )
        try:
            if error is not None:
                invocation.respond_to_error(error)
            else:
                self._helper(request, invocation)
            response = invocation.finish()
            if invocation.is_delivered:
                self._remember(identity, response)
            return response
        finally:
            metrics = invocation.metrics()
            if metrics is not None:
                record(metrics)

    def _replicate(self, invocation: Invocation) -> str:
        """Replicate the image and return the physical resource ID."""
        event = invocation.event
        request = invocation.continuation.pinned(parse_request(event["ResourceProperties"]))
        invocation.is_dry_run = request.dry_run
        _LOGGER.info(
            "started",
            extra={
                "source": str(request.source),
                "destination": str(request.destination),
                "invocation": invocation.continuation.invocation,
            },
        )
        replicator = self._replicator()
        if invocation.is_from_topic:
            check_topic(replicator.settings)
        invocation.streams = request.most_streams or replicator.settings.streams
        invocation.progress = LoggedProgress(replicator.settings.progress_interval_seconds)
        outcome = replicator.replicate(
            request,
            deadline=invocation.deadline,
            progress=invocation.progress,
            previous=str(event.get("PhysicalResourceId") or ""),
            previous_source=_previous_source(event),
            propagation=PermissionPropagation.since(
                invocation.continuation.started_at_seconds,
                replicator.settings.propagation_seconds,
                invocation.deadline,
            ),
        )
        if invocation.continuation.invocation > 1:
            started_at_seconds = invocation.continuation.started_at_seconds
            outcome = outcome._replace(duration_seconds=time.time() - started_at_seconds)
        self._helper.Data.update(outcome.attributes())
        _LOGGER.info("done", extra={"result": outcome.attributes()})
        return outcome.physical_resource_id

    def _delete(self, invocation: Invocation) -> str:
        """Keep the image, or remove the tags that still point at it."""
        event = invocation.event
        request = parse_untagging(
            str(event.get("PhysicalResourceId", "")), event["ResourceProperties"]
        )
        if request is None:
            _LOGGER.info("deleted; the image and its tags are retained")
            return ""
        replicator = self._replicator()
        if invocation.is_from_topic:
            check_topic(replicator.settings)
        _LOGGER.info("removing tags", extra={"destination": str(request.destination)})
        replicator.untag(request, deadline=invocation.deadline)
        return ""

    def _remember(self, identity: tuple[str, str, str], response: dict[str, Any]) -> None:
        self._delivered[identity] = response
        if len(self._delivered) > _MAX_REMEMBERED:
            self._delivered.popitem(last=False)


def _error_before_work(request: Mapping[str, Any], url: str) -> RequestError | None:
    """Return why a request is not served at all."""
    if is_https(url) and not is_allowed_url(url, allowed_hosts()):
        return NotAllowedError(
            "the host of ResponseURL is not allowed: it is not CloudFormation's",
            hint="For tests, name the host in the function's variable RESPONSE_HOSTS.",
        )
    if request["RequestType"] not in REQUEST_TYPES:
        return RequestError(
            f"invalid RequestType {request['RequestType'][:80]!r}: CloudFormation sends "
            f"{', '.join(REQUEST_TYPES)}"
        )
    return None


def _previous_source(event: Mapping[str, Any]) -> str:
    """Return the SrcImage that an Update replaces; "" for other requests."""
    old = event.get("OldResourceProperties")
    if event.get("RequestType") != "Update" or not isinstance(old, dict):
        return ""
    return str(old.get("SrcImage", ""))
