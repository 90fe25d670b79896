"""CloudFormation's answers: rendered within their bounds, and delivered to the response URL.

AWS CloudFormation user guide, "Custom resource response objects": at most 4,096 bytes of JSON, a
physical resource id of 1 to 1,024 bytes, a Reason on failure. The response URL lets whoever has it
answer in the function's name, so it is in no log line and no error.
"""

from __future__ import annotations

import functools
import http.client
import json
import logging
import os
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_LOGGER: Final = logging.getLogger(__name__)
MAX_ANSWER_BYTES: Final = 4096
_MAX_ID_BYTES: Final = 1024
_ATTEMPT_TIMEOUT_SECONDS: Final = 5.0
_MAX_DELAY_SECONDS: Final = 8.0
_PASSING_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
#: OpenSSL's own two, and those that name a bundle each.
_TRUST_VARIABLES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE")
#: Left out one after the other when an answer would be too long; `Digest.` names a family.
_DISPENSABLE: Final = ("Digest.", "Platforms")


@dataclass(frozen=True, slots=True)
class CustomResourceResponse:
    """What CloudFormation is told.

    Attributes
    ----------
    status
        SUCCESS or FAILED.
    reason
        One sentence; required when FAILED.
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
        """Render the answer in at most 4,096 bytes of JSON.

        Per-platform digests are left out first; a reason is cut in the middle, so that it keeps
        its end, which names the log stream.
        """
        data = dict(self.data)
        for family in _DISPENSABLE:
            if _size_bytes(self._fields(self.reason, data)) <= MAX_ANSWER_BYTES:
                break
            data = {name: value for name, value in data.items() if not name.startswith(family)}
        reason = self.reason
        if len(reason) > MAX_ANSWER_BYTES:
            # cut to size at once: the small steps below would take minutes for megabytes
            reason = f"{reason[: MAX_ANSWER_BYTES * 3 // 4]} … {reason[-MAX_ANSWER_BYTES // 4 :]}"
        while reason and _size_bytes(self._fields(reason, data)) > MAX_ANSWER_BYTES:
            middle = len(reason) * 3 // 4
            reason = f"{reason[: middle - 16]} … {reason[middle + 16 :]}"
            if len(reason) < 64:
                reason = reason[: len(reason) // 2]
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


def failed_physical_id(event: Mapping[str, Any]) -> str:
    """Give the physical id to answer with when a request has failed.

    It is the resource's own. One that was not made gets a name for which no Delete does anything.
    """
    own = str(event.get("PhysicalResourceId") or "")
    return own or f"not-created/{event['LogicalResourceId']}/{event['RequestId']}"


def deliver(
    url: str,
    body: Mapping[str, Any],
    *,
    budget_seconds: float,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """PUT an answer to its response URL, again with backoff while that can help.

    Parameters
    ----------
    url
        An https URL.
    budget_seconds
        After which it is given up.

    Returns
    -------
    bool
        Whether CloudFormation took it.
    """
    content = json.dumps(body).encode()
    until = clock() + budget_seconds
    delay_seconds = 0.5
    while True:
        status = _put(url, content, max(0.1, min(_ATTEMPT_TIMEOUT_SECONDS, until - clock())))
        if 200 <= status < 300:
            return True
        found = f"status {status}" if status else "no response"
        may_pass = status == 0 or status in _PASSING_STATUSES
        if not may_pass or clock() + delay_seconds >= until:
            _LOGGER.error("CloudFormation did not take the answer: %s", found)
            return False
        _LOGGER.warning("the answer is going to be sent again: %s", found)
        sleep(delay_seconds)
        delay_seconds = min(delay_seconds * 2, _MAX_DELAY_SECONDS)


def _put(url: str, content: bytes, timeout_seconds: float) -> int:
    """Send once; the response's status, 0 when none came."""
    # the URL is signed for an empty Content-Type
    request = urllib.request.Request(  # noqa: S310 - deliver() is given https URLs only
        url, data=content, method="PUT", headers={"Content-Type": ""}
    )
    try:
        with urllib.request.urlopen(  # noqa: S310 - as above
            request,
            timeout=timeout_seconds,
            context=_tls_context(*map(os.environ.get, _TRUST_VARIABLES)),
        ) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except (OSError, http.client.HTTPException, ValueError):
        return 0


@functools.lru_cache(maxsize=1)
def _tls_context(_file: str | None, _directory: str | None, *bundles: str | None) -> ssl.SSLContext:
    """Trust the default store (SSL_CERT_FILE), and what the other variables name beside it.

    Kept, as reading the store takes longer than delivering an answer.
    """
    context = ssl.create_default_context()
    for named in bundles:
        if os.path.isfile(named or ""):  # noqa: PTH113 - a plain question
            context.load_verify_locations(cafile=named)
    return context


def _size_bytes(fields: Mapping[str, Any]) -> int:
    return len(json.dumps(fields).encode())


def _cut(text: str, most_bytes: int) -> str:
    return text.encode(errors="replace")[:most_bytes].decode(errors="ignore")
