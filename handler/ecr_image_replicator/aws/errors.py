"""What botocore raises, as one error with a sentence that is fit to be shown.

botocore's own messages may quote endpoints and parameters; only what a service answered is quoted.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from ecr_image_replicator.errors import AwsError
from ecr_image_replicator.sanitize import sanitize

if TYPE_CHECKING:
    from ecr_image_replicator.aws.operations import Operation

_MAX_MESSAGE_CHARACTERS: Final = 300
_PARAMETER: Final = re.compile(r"parameter ([A-Za-z0-9.\[\]]+)[,:]")
#: By the names of botocore's exceptions, so that this needs no import of it.
_REASONS: Final = {
    "ConnectTimeoutError": "the service was not reached in time",
    "ConnectionClosedError": "the service closed the connection",
    "CredentialRetrievalError": "the AWS credentials cannot be had",
    "EndpointConnectionError": "the service was not reached",
    "InvalidRegionError": "there is no such region",
    "NoCredentialsError": "there are no AWS credentials",
    "NoRegionError": "no AWS region is known, see AWS_REGION",
    "ParamValidationError": "a value is not of the form that it takes",
    "PartialCredentialsError": "the AWS credentials are not complete",
    "ProxyConnectionError": "the proxy was not reached, or refused to connect",
    "ReadTimeoutError": "the service did not answer in time",
    "SSLError": "TLS failed, or the service's certificate is not trusted",
}


def aws_error(error: Exception, operation: Operation, caller: str) -> AwsError:
    """Say what became of a call.

    Parameters
    ----------
    error
        A BotoCoreError or a ClientError.
    caller
        As whom the call was made.
    """
    response: Any = getattr(error, "response", None)
    answered = response.get("Error") if isinstance(response, dict) else None
    if not isinstance(answered, dict):
        kind = next(
            (each.__name__ for each in type(error).__mro__ if each.__name__ in _REASONS), ""
        )
        reason = _REASONS.get(kind, "the connection failed")
        if kind == "ParamValidationError":
            # its report quotes values, which need not be fit to be shown
            names = sorted(set(_PARAMETER.findall(str(error))))
            reason += f" ({', '.join(names)})" if names else ""
        return AwsError(f"{operation.action} by {caller} failed: {reason}", action=operation.action)
    code = sanitize(answered.get("Code"), 80)
    message = sanitize(answered.get("Message"), _MAX_MESSAGE_CHARACTERS)
    found = f"{code}: {message}" if message else code
    return AwsError(
        f"{operation.action} by {caller} was refused ({found})",
        action=operation.action,
        code=code,
    )
