"""botocore's exceptions as errors of the engine.

botocore's own messages may quote endpoints and parameters, so only a service's response is quoted.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from ecr_image_replicator.errors import AwsError, RoleError, Setting, Side
from ecr_image_replicator.propagation import is_explicit_deny
from ecr_image_replicator.sanitize import sanitize
from ecr_image_replicator.trust_store import UnreadableTrustStoreError, shared_context

if TYPE_CHECKING:
    from ecr_image_replicator.aws.operations import Operation
    from ecr_image_replicator.request.roles import AssumedRole

_MAX_MESSAGE_CHARACTERS: Final = 300
_PARAMETER: Final = r"parameter ([A-Za-z0-9.\[\]]+)[,:]"
_NOT_FOUND: Final = r"NoSuch\w+|\w*NotFound(?:Exception)?"
_THROTTLED: Final = r"Throttl\w+|TooManyRequests\w*|RequestLimitExceeded|LimitExceeded\w*|SlowDown"
#: Credentials, a session or a signature that AWS does not accept.
_UNAUTHENTICATED: Final = (
    r"ExpiredToken\w*|IncompleteSignature\w*|InvalidAccessKeyId|InvalidClientTokenId"
    r"|InvalidSignature\w*|InvalidToken|LoginError|MissingAuthenticationToken\w*|RequestExpired"
    r"|RequestTimeTooSkewed|SignatureDoesNotMatch|SSOError|TokenRetrievalError"
    r"|UnrecognizedClient\w*"
)
_CHECK_CREDENTIALS: Final = "Check that the AWS credentials are valid and the clock is right."
#: Throttles, and errors of the service itself, which a later call may not meet.
_TEMPORARY: Final = (
    rf"{_THROTTLED}|Internal(?:Error|Failure|Service\w*|Server\w*)|ServiceUnavailable\w*"
    r"|RequestTimeout\w*|ConnectTimeoutError|ConnectionClosedError|EndpointConnectionError"
    r"|ProxyConnectionError|ReadTimeoutError"
)
#: botocore's exceptions for settings that are missing or invalid.
_SETTINGS: Final = (
    r"ConfigNotFound|ConfigParseError|InvalidConfigError|InvalidRegionError|NoCredentialsError"
    r"|NoRegionError|PartialCredentialsError|ProfileNotFound|ValueError"
)
_INVALID_CONFIGURATION: Final = (
    "invalid AWS configuration",
    "Check the variables of AWS, such as AWS_ENDPOINT_URL, and its configuration files.",
)
_NO_SSO_SESSION: Final = ("no valid AWS SSO session found", "Run `aws sso login`.")
_EXTERNAL_IDS: Final = {
    Side.SOURCE: Setting.SOURCE_EXTERNAL_ID,
    Side.DESTINATION: Setting.DESTINATION_EXTERNAL_ID,
}
#: Reason and hint by the name of botocore's exception, so that this module does not import it.
_FAILURES: Final = {
    "ConfigNotFound": _INVALID_CONFIGURATION,
    "ConfigParseError": _INVALID_CONFIGURATION,
    "ConnectTimeoutError": ("cannot connect to the service, connection timed out", ""),
    "ConnectionClosedError": ("the service closed the connection", ""),
    "CredentialRetrievalError": ("cannot load AWS credentials", ""),
    "EndpointConnectionError": (
        "cannot connect to the service",
        "Check the network, and VPC endpoints if the function is in a VPC.",
    ),
    "HTTPClientError": ("the connection failed", ""),
    "IncompleteReadError": ("the connection failed", ""),
    "InvalidConfigError": _INVALID_CONFIGURATION,
    "InvalidRegionError": ("invalid AWS region", "Check AWS_REGION."),
    "LoginError": ("no valid AWS login session found", "Run `aws login`."),
    "NoCredentialsError": (
        "no AWS credentials found",
        "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE.",
    ),
    "NoRegionError": ("no AWS region is set", "Set AWS_REGION."),
    "ParamValidationError": ("invalid parameter", ""),
    "PartialCredentialsError": ("incomplete AWS credentials", ""),
    "ProfileNotFound": ("AWS profile not found", "Check AWS_PROFILE."),
    "ProxyConnectionError": ("cannot connect to the proxy", "Check HTTPS_PROXY and NO_PROXY."),
    "ReadTimeoutError": ("the response timed out", ""),
    "SSLError": (
        "certificate verification failed",
        "Set AWS_CA_BUNDLE to a file with the certificate authority.",
    ),
    "SSOError": _NO_SSO_SESSION,
    "TokenRetrievalError": _NO_SSO_SESSION,
    # from the creation of a client: an invalid endpoint, or a number that is none
    "ValueError": _INVALID_CONFIGURATION,
}


def aws_error(error: Exception, operation: Operation) -> AwsError:
    """Return the error to raise for a failed call.

    Parameters
    ----------
    error
        A BotoCoreError, a ClientError, or a ValueError from the creation of a client.
    """
    response: Any = getattr(error, "response", None)
    found = response.get("Error") if isinstance(response, dict) else None
    if not isinstance(found, dict):
        name, reason, hint = _describe_failure(error)
        return AwsError(
            f"{operation.action} failed: {reason}",
            action=operation.action,
            code=name,
            reason=reason,
            hint=hint,
        )
    code = sanitize(found.get("Code"), 80)
    message = sanitize(found.get("Message"), _MAX_MESSAGE_CHARACTERS)
    reason = _describe_rejection(code, message)
    return AwsError(
        f"{operation.action} failed: {reason}",
        action=operation.action,
        code=code,
        reason=reason,
        is_explicit_deny=is_explicit_deny(str(found.get("Message"))),
        hint=_CHECK_CREDENTIALS if is_unauthenticated(code) else "",
    )


def role_error(error: AwsError, side: Side, role: AssumedRole) -> RoleError:
    """Return the error to raise for a role that cannot be assumed."""
    if not error.is_denied:
        return RoleError(
            f"cannot assume the role {role.arn} for the {side}: {error.action} failed: "
            f"{error.reason}",
            hint=error.hint,
        )
    # STS does not say whether the role exists
    trust: tuple[str | Setting, ...] = (
        f"Allow {error.action} on the role, and allow this caller in the role's trust policy",
    )
    if role.external_id:
        trust += (" with the external ID in ", _EXTERNAL_IDS[side])
    return RoleError(
        f"cannot assume the role {role.arn} for the {side}: role not found or {error.reason}",
        hint=(*trust, "."),
    )


def _describe_failure(error: Exception) -> tuple[str, str, str]:
    """Return name, reason and hint for a call without a response."""
    names = (each.__name__ for each in type(error).__mro__)
    name = next((each for each in names if each in _FAILURES), "")
    reason, hint = _FAILURES.get(name, (f"botocore raised {type(error).__name__}", ""))
    if name == "ParamValidationError":
        # its report quotes values, which may be secrets
        parameters = sorted(set(re.findall(_PARAMETER, str(error))))
        reason += f" {', '.join(parameters)}" if parameters else ""
    elif name == "SSLError":
        try:
            shared_context()
        except UnreadableTrustStoreError as unreadable:
            return name, str(unreadable), "Correct the variable, or the file that it names."
    return name, reason, hint


def _describe_rejection(code: str, message: str) -> str:
    """Return the standard term for a service's error code, with the code and its message."""
    response = f"{code}: {message}" if message else code
    if AwsError(action="", code=code).is_denied:
        return f"access denied ({response})"
    if is_unauthenticated(code):
        return f"authentication failed ({response})"
    if is_not_found(code):
        return f"not found ({response})"
    if re.fullmatch(_THROTTLED, code):
        return f"rate limit exceeded ({response})"
    return f"rejected ({response})"


def is_unauthenticated(code: str) -> bool:
    """Return whether AWS does not accept the caller's credentials, or there is no session."""
    return re.fullmatch(_UNAUTHENTICATED, code) is not None


def is_not_found(code: str) -> bool:
    """Return whether a service's error code says that something does not exist."""
    return re.fullmatch(_NOT_FOUND, code) is not None


def is_setting(code: str) -> bool:
    """Return whether AWS was not called, because a setting is missing or invalid."""
    return re.fullmatch(_SETTINGS, code) is not None


def is_temporary(code: str) -> bool:
    """Return whether a later call may succeed: a throttle, or a failure of the service."""
    return re.fullmatch(_TEMPORARY, code) is not None
