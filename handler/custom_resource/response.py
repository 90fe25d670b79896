"""Responses to CloudFormation: rendered within its limits and delivered to the response URL.

AWS CloudFormation User Guide, "Custom resource response objects": at most 4,096 bytes of JSON, a
physical resource ID of 1 to 1,024 bytes, a Reason on failure. Whoever has the response URL can
respond in the function's name, so it appears in no log line and no error. This module imports only
the standard library: the failure responder uses it too.
"""

from __future__ import annotations

import http.client
import json
import logging
import os
import re
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from custom_resource.mirror_ids import MIRROR_TYPE, mirror_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_LOGGER: Final = logging.getLogger(__name__)
MAX_RESPONSE_BYTES: Final = 4096
#: Environment variable: comma list of ``host`` or ``host:port`` beside CloudFormation's own hosts.
RESPONSE_HOSTS_VARIABLE: Final = "RESPONSE_HOSTS"
_MAX_ID_BYTES: Final = 1024
_ATTEMPT_TIMEOUT_SECONDS: Final = 5.0
_MAX_DELAY_SECONDS: Final = 8.0
_RETRIED_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
#: Removed first when a response would be too long; `Digest.` is the prefix of a family.
_DISPENSABLE: Final = ("Digest.", "Platforms")
#: Strict on purpose: every parser of URLs reads what this matches in the same way.
_URL: Final = re.compile(
    r"https://([a-z0-9.-]{1,253})(?::([0-9]{1,5}))?(?:/[!-\[\]-~]*)?", re.IGNORECASE
)
_BUCKET: Final = re.compile(r"cloudformation-custom-resource-response-([a-z]{4,40}[0-9]{1,2})")
_REGION: Final = re.compile(r"[a-z]{2,8}(?:-[a-z]{2,12}){1,3}-[0-9]{1,2}")
_LOOPBACK: Final = r"127(?:\.[0-9]{1,3}){3}"
#: DNS suffixes of the AWS partitions (botocore, partitions.json).
_PARTITION_SUFFIXES: Final = (
    "amazonaws.com",
    "amazonaws.com.cn",
    "amazonaws.eu",
    "c2s.ic.gov",
    "cloud.adc-e.uk",
    "csp.hci.ic.gov",
    "sc2s.sgov.gov",
)


class UndeliveredResponseError(Exception):
    """CloudFormation did not accept the response; Lambda must treat the invocation as failed."""

    def __init__(self) -> None:
        super().__init__("cannot deliver the response to CloudFormation")


@dataclass(frozen=True, slots=True)
class CustomResourceResponse:
    """A response to one CloudFormation request.

    Attributes
    ----------
    status
        SUCCESS or FAILED.
    reason
        Required when FAILED.
    data
        Values for Fn::GetAtt.
    """

    status: str
    physical_resource_id: str
    stack_id: str
    request_id: str
    logical_resource_id: str
    reason: str = ""
    data: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """Render the response in at most 4,096 bytes of JSON.

        Per-platform digests are removed first. A long reason is cut in the middle, so that it keeps
        its end, which names the log stream.
        """
        data = dict(self.data)
        for prefix in _DISPENSABLE:
            if _size_bytes(self._fields(self.reason, data)) <= MAX_RESPONSE_BYTES:
                break
            data = {name: value for name, value in data.items() if not name.startswith(prefix)}
        reason = self.reason
        if len(reason) > MAX_RESPONSE_BYTES:
            # one large cut first: the small steps below would take minutes for megabytes
            head, tail = MAX_RESPONSE_BYTES * 3 // 4, MAX_RESPONSE_BYTES // 4
            reason = f"{reason[:head]} … {reason[-tail:]}"
        while len(reason) > 1 and _size_bytes(self._fields(reason, data)) > MAX_RESPONSE_BYTES:
            if len(reason) < 64:
                reason = reason[: len(reason) // 2]
                continue
            middle = len(reason) * 3 // 4
            reason = f"{reason[: middle - 16]} … {reason[middle + 16 :]}"
        return self._fields(reason, data)

    def _fields(self, reason: str, data: Mapping[str, str]) -> dict[str, Any]:
        fields = {
            "Status": self.status,
            "PhysicalResourceId": _cut(self.physical_resource_id, _MAX_ID_BYTES),
            "StackId": self.stack_id,
            "RequestId": self.request_id,
            "LogicalResourceId": self.logical_resource_id,
            "NoEcho": False,
            "Data": dict(data),
        }
        return fields | ({"Reason": reason} if reason else {})


def interim_output(event: Mapping[str, Any], status: str) -> dict[str, Any]:
    """Return the output of an invocation that leaves the response to a later one."""
    names = ("StackId", "RequestId", "LogicalResourceId")
    return {"Status": status, **{name: event[name] for name in names}}


def failed_physical_id(event: Mapping[str, Any]) -> str:
    """Return the physical resource ID for a failed request.

    An existing resource keeps its ID. A mirror that was not created gets its own, since it may have
    state to delete; an image gets an ID for which Delete does nothing.
    """
    own = str(event.get("PhysicalResourceId") or "")
    if not own and event.get("ResourceType") == MIRROR_TYPE:
        return mirror_id(event)
    return own or f"not-created/{event['LogicalResourceId']}/{event['RequestId']}"


def is_https(url: str) -> bool:
    """Return whether a response URL is meant to be contacted.

    ``sam local generate-event`` writes ``http://pre-signed-S3-url-for-response``, a placeholder.
    """
    return url.lower().startswith("https:")


def is_allowed_url(url: str, allowed_hosts: str = "") -> bool:
    """Return whether a response may be sent to this URL.

    Parameters
    ----------
    url
        The request's ResponseURL.
    allowed_hosts
        Comma list of ``host`` or ``host:port`` beside CloudFormation's own hosts.
    """
    match = _URL.fullmatch(url)
    if match is None:
        return False
    host, port = match[1].lower(), match[2] or "443"
    names = {name.strip().lower() for name in allowed_hosts.split(",")}
    if host in names or f"{host}:{port}" in names:
        return True
    return port == "443" and _is_cloudformation_host(host)


def _is_cloudformation_host(host: str) -> bool:
    """Match ``cloudformation-custom-resource-response-useast1.s3[.-]us-east-1.amazonaws.com``.

    AWS CloudFormation User Guide, "Setting up VPC endpoints": the bucket is named after the region
    without its hyphens. The global S3 host (``BUCKET.s3.amazonaws.com``) names no region.
    """
    bucket, _, service = host.partition(".")
    match = _BUCKET.fullmatch(bucket)
    if match is None:
        return False
    for suffix in _PARTITION_SUFFIXES:
        if service == f"s3.{suffix}":
            return True
        if service.endswith(f".{suffix}"):
            name = service.removesuffix(f".{suffix}")
            for prefix in ("s3.dualstack.", "s3.", "s3-"):
                if name.startswith(prefix):
                    region = name.removeprefix(prefix)
                    is_region = _REGION.fullmatch(region) is not None
                    return is_region and region.replace("-", "") == match[1]
    return False


def deliver(
    url: str,
    body: Mapping[str, Any],
    *,
    budget_seconds: float,
    tls: ssl.SSLContext | None = None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """PUT a response to its response URL, with retries and exponential backoff.

    Parameters
    ----------
    url
        A URL for which `is_allowed_url` is true.
    budget_seconds
        The time for all attempts.
    tls
        None for the default trust store, which SSL_CERT_FILE replaces.

    Returns
    -------
    bool
        Whether CloudFormation accepted it.
    """
    content = json.dumps(body).encode()
    tls = tls or _default_context()
    until = clock() + budget_seconds
    delay_seconds = 0.5
    while True:
        timeout_seconds = max(0.1, min(_ATTEMPT_TIMEOUT_SECONDS, until - clock()))
        status, found = _put(url, content, timeout_seconds, tls)
        if 200 <= status < 300:
            return True
        is_retried = status == 0 or status in _RETRIED_STATUSES
        if not is_retried or clock() + delay_seconds >= until:
            _LOGGER.error("cannot deliver the response to CloudFormation: %s", found)
            return False
        _LOGGER.warning("retrying to deliver the response to CloudFormation: %s", found)
        sleep(delay_seconds)
        delay_seconds = min(delay_seconds * 2, _MAX_DELAY_SECONDS)


def _default_context() -> ssl.SSLContext:
    """Return the context of a process without the engine, which has `trust_store`."""
    context = ssl.create_default_context()
    if os.environ.get("SSL_CERT_FILE"):  # a private authority may lack extensions
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def allowed_hosts() -> str:
    """Return the value of RESPONSE_HOSTS."""
    return os.environ.get(RESPONSE_HOSTS_VARIABLE, "")


def _put(url: str, content: bytes, timeout_seconds: float, tls: ssl.SSLContext) -> tuple[int, str]:
    """Send once; return the response's status, 0 when there was none, and what was found."""
    # the URL is signed for an empty Content-Type
    request = urllib.request.Request(  # noqa: S310 - deliver() is given https URLs only
        url, data=content, method="PUT", headers={"Content-Type": ""}
    )
    opener = urllib.request.build_opener(
        urllib.request.HTTPSHandler(context=tls),
        *([urllib.request.ProxyHandler({})] if _is_direct(request.host) else []),
    )
    try:
        with opener.open(request, timeout=timeout_seconds) as response:
            return int(response.status), ""
    except urllib.error.HTTPError as error:
        error.close()
        return error.code, f"{error.code} {http.client.responses.get(error.code, '')}".rstrip()
    except (OSError, http.client.HTTPException, ValueError) as error:
        return 0, f"cannot connect: {_reason(error)}"


def _is_direct(authority: str) -> bool:
    """Return whether ``host[:port]`` is reached without a proxy, where urllib would use one.

    urllib reads the other forms of NO_PROXY, and has no rule for loopback addresses. The hosts of
    `is_allowed_url` have no brackets.
    """
    host = authority.partition(":")[0].lower()
    if host == "localhost" or host.endswith(".localhost") or re.fullmatch(_LOOPBACK, host):
        return True
    entries = (os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or "").lower()
    domains = [each[1:] for each in re.split("[, ]+", entries) if each.startswith("*.")]
    return any(host.endswith(domain) or host == domain[1:] for domain in domains)


def _reason(error: Exception) -> str:
    """Name the reason without the URL: messages of HTTP errors and ValueErrors may quote it."""
    cause = getattr(error, "reason", error)
    if isinstance(cause, TimeoutError):
        return "timed out"
    if isinstance(cause, OSError) and cause.strerror:
        return str(getattr(cause, "verify_message", "") or cause.strerror)
    return type(cause).__name__


def _size_bytes(fields: Mapping[str, Any]) -> int:
    return len(json.dumps(fields).encode())


def _cut(text: str, max_bytes: int) -> str:
    return text.encode(errors="replace")[:max_bytes].decode(errors="ignore")
