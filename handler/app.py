"""The Lambda entry point: an event of CloudFormation's in, exactly one answer out.

Read on in `lifecycle` (how a stack is answered) and `replicator` (how an image is copied).
"""

from __future__ import annotations

import gc

# what the imports make stays: looking through it for garbage is a quarter of a cold start
gc.disable()

import functools
import json
import logging
import os
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging.utils import copy_config_to_registered_loggers

from custom_resource.metrics import publish
from custom_resource.resource import ReplicationResource
from custom_resource.sns import request_of
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.settings import Settings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

# ensure_ascii: a lone surrogate in an event could not be written, and its log lines would be lost
serialize = functools.partial(json.dumps, default=str, separators=(",", ":"), ensure_ascii=True)
logger = Logger(service="ecr-image-replicator", json_serializer=serialize)
copy_config_to_registered_loggers(logger, include={"ecr_image_replicator", "custom_resource"})
for library in ("boto3", "botocore", "crhelper", "requests", "s3transfer", "urllib3"):
    # at DEBUG these write out presigned URLs, tokens and the whole event
    logging.getLogger(library).setLevel(logging.CRITICAL)


@functools.cache
def replicator() -> Replicator:
    """Make the engine when it is first needed; it is kept for warm invocations."""
    return Replicator(Settings.from_environment(os.environ))


resource = ReplicationResource(replicator)
gc.freeze()
gc.enable()


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer one event; the answer is also the return value."""
    request = request_of(event)
    named: dict[str, Any] = {
        "stack_id": request.get("StackId"),
        "logical_resource_id": request.get("LogicalResourceId"),
        "request_id": request.get("RequestId"),
        "request_type": request.get("RequestType"),
        "function_request_id": context.aws_request_id,
    }
    logger.structure_logs(append=False, **named)
    answer = resource.answer(request, context)
    if resource.metrics is not None:
        publish(resource.metrics, named)
    return answer
