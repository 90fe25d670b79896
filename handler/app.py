"""The Lambda entry point: one event in, exactly one response or one error out.

Read on in `custom_resource.resource` (CloudFormation requests), `custom_resource.direct_call`
(direct calls) and `ecr_image_replicator.replicate` (how an image is copied).
"""

from __future__ import annotations

import gc

# objects made by imports live for ever: scanning them for garbage is a quarter of a cold start
gc.disable()

import contextlib
import functools
import json
import logging
import os
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging.utils import copy_config_to_registered_loggers

from custom_resource import direct_call, sns
from custom_resource.metrics import publish
from custom_resource.mirror_ids import MIRROR_TYPE
from custom_resource.resource import ReplicationResource
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.settings import Settings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from custom_resource.mirrors import MirrorResource

# ASCII only: a lone surrogate in an event cannot be encoded and would suppress the log line
serialize = functools.partial(json.dumps, default=str, separators=(",", ":"))
logger = Logger(service="ecr-image-replicator", json_serializer=serialize)
copy_config_to_registered_loggers(logger, include={"ecr_image_replicator", "custom_resource"})
for library in ("boto3", "botocore", "crhelper", "requests", "s3transfer", "urllib3"):
    # at DEBUG these log presigned URLs, tokens and the whole event
    logging.getLogger(library).setLevel(logging.CRITICAL)


@functools.cache
def replicator() -> Replicator:
    """Make the engine on first use; warm invocations reuse it."""
    return Replicator(Settings.from_environment(os.environ))


@functools.cache
def mirrors() -> MirrorResource:
    """Import and make what serves mirrors on first use: an image's cold start does without."""
    from custom_resource.mirrors import MirrorResource  # noqa: PLC0415 - slow to import
    from ecr_image_replicator.aws.mirrors import MirrorResources  # noqa: PLC0415 - as above

    return MirrorResource(replicator, lambda: MirrorResources.from_environment(os.environ))


resource = ReplicationResource(replicator)
if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
    # the init phase has a whole processor: docs/decisions/0030-create-the-ecr-client-at-init.md
    with contextlib.suppress(Exception):  # an invalid setting fails each request, not the start
        replicator().endpoints.prepare(os.environ["AWS_REGION"])
gc.freeze()
gc.enable()


def lambda_handler(event: Any, context: LambdaContext) -> dict[str, Any]:
    """Serve one event and return the response's body, or the values of a direct call."""
    request = sns.unwrap(event) if isinstance(event, dict) else {}
    is_from_topic = isinstance(event, dict) and sns.is_notification(event)
    if "Mirror" in request and not is_from_topic:
        fields = request["Mirror"] if isinstance(request["Mirror"], dict) else {}
        # not those of the request before, which this process may have served
        logger.structure_logs(
            append=False,
            mirror_run=str(fields.get("Run", ""))[:80],
            mirror_step=str(fields.get("Step", ""))[:80],
            function_request_id=context.aws_request_id,
        )
        return mirrors().step(request, context)
    names: dict[str, Any] = {
        "stack_id": request.get("StackId"),
        "logical_resource_id": request.get("LogicalResourceId"),
        "request_id": request.get("RequestId"),
        "request_type": request.get("RequestType"),
        "function_request_id": context.aws_request_id,
    }
    logger.structure_logs(append=False, **names)
    record = functools.partial(publish, request=names)
    if request.get("ResourceType") == MIRROR_TYPE:
        return mirrors().respond(request, context, is_from_topic=is_from_topic)
    if is_from_topic or "RequestType" in request or "ResponseURL" in request:
        return resource.respond(request, context, is_from_topic=is_from_topic, record=record)
    return direct_call.call(request, context, replicator=replicator, record=record)
