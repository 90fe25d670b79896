"""Operations of requests (OCI distribution specification 1.1, "Endpoints")."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from local.registry.errors import ErrorCode, RegistryError

_NAME = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
_REPOSITORY_NAME = re.compile(_NAME)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_NAME_LIMIT = 255


class Action(Enum):
    """The endpoints. HEAD is the same action as GET."""

    PING = "ping"
    GET_BLOB = "get blob"
    DELETE_BLOB = "delete blob"
    START_UPLOAD = "start upload"
    GET_UPLOAD = "get upload"
    APPEND_UPLOAD = "append upload"
    FINISH_UPLOAD = "finish upload"
    CANCEL_UPLOAD = "cancel upload"
    GET_MANIFEST = "get manifest"
    PUT_MANIFEST = "put manifest"
    DELETE_MANIFEST = "delete manifest"
    LIST_TAGS = "list tags"
    LIST_REFERRERS = "list referrers"


@dataclass(frozen=True, slots=True)
class Operation:
    """An action on a repository; `reference` is a tag, a digest or an upload session's id."""

    action: Action
    repository: str = ""
    reference: str = ""


_ROUTES: tuple[tuple[re.Pattern[str], dict[str, Action]], ...] = (
    (re.compile(r"/v2/?"), {"GET": Action.PING}),
    (re.compile(r"/v2/(?P<name>.+)/blobs/uploads/?"), {"POST": Action.START_UPLOAD}),
    (
        re.compile(r"/v2/(?P<name>.+)/blobs/uploads/(?P<reference>[^/]+)"),
        {
            "GET": Action.GET_UPLOAD,
            "PATCH": Action.APPEND_UPLOAD,
            "PUT": Action.FINISH_UPLOAD,
            "DELETE": Action.CANCEL_UPLOAD,
        },
    ),
    (
        re.compile(r"/v2/(?P<name>.+)/blobs/(?P<reference>[^/]+)"),
        {"GET": Action.GET_BLOB, "DELETE": Action.DELETE_BLOB},
    ),
    (
        re.compile(r"/v2/(?P<name>.+)/manifests/(?P<reference>[^/]+)"),
        {
            "GET": Action.GET_MANIFEST,
            "PUT": Action.PUT_MANIFEST,
            "DELETE": Action.DELETE_MANIFEST,
        },
    ),
    (re.compile(r"/v2/(?P<name>.+)/tags/list"), {"GET": Action.LIST_TAGS}),
    (
        re.compile(r"/v2/(?P<name>.+)/referrers/(?P<reference>[^/]+)"),
        {"GET": Action.LIST_REFERRERS},
    ),
)


def resolve(method: str, path: str) -> Operation:
    """Return the operation of a method and a decoded path.

    Raises
    ------
    RegistryError
        404 for an unknown endpoint, 405 UNSUPPORTED for an unsupported method, 400
        NAME_INVALID for a malformed repository name.
    """
    for pattern, actions in _ROUTES:
        match = pattern.fullmatch(path)
        if match is None:
            continue
        action = actions.get("GET" if method == "HEAD" else method)
        if action is None:
            raise RegistryError(ErrorCode.UNSUPPORTED, f"{method} is not supported here")
        groups = match.groupdict()
        name = groups.get("name") or ""
        if action is not Action.PING and not is_repository_name(name):
            raise RegistryError(ErrorCode.NAME_INVALID, f"not a repository name: {name!r}")
        return Operation(action, name, groups.get("reference") or "")
    raise RegistryError(ErrorCode.UNKNOWN, f"no such endpoint: {path}", status=404)


def is_repository_name(text: str) -> bool:
    """Return whether a text is a valid repository name."""
    return len(text) <= _NAME_LIMIT and _REPOSITORY_NAME.fullmatch(text) is not None


def is_tag(text: str) -> bool:
    """Return whether a text is a valid tag."""
    return _TAG.fullmatch(text) is not None
