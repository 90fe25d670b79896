"""What the body of an error response says: its code and its reason.

OCI distribution specification 1.1, "Error Codes", and what other servers send in its place.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from ecr_image_replicator.registry.http.messages import status_text
from ecr_image_replicator.sanitize import sanitize

if TYPE_CHECKING:
    from ecr_image_replicator.registry.http.messages import HttpResponse

_MAX_MESSAGE_CHARACTERS: Final = 200
#: Of a page or a text; its title or first line is within.
_MAX_TEXT_BYTES: Final = 4096
#: Codes that name no reason.
_UNSPECIFIC_CODES: Final = frozenset({"", "UNKNOWN", "INTERNAL_ERROR", "INTERNAL_SERVER_ERROR"})
#: Messages that some registries give to every error.
_UNSPECIFIC_MESSAGES: Final = frozenset({"", "unknown error", "internal server error"})
_DIGEST: Final = r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}"
#: Keys of a reason outside a list of errors: of gateways, RFC 6749, GitLab, RFC 9457.
_REASON_KEYS: Final = ("message", "error_description", "error", "detail", "title", "msg")
_TITLE: Final = re.compile(r"<title[^<>]{0,80}>([^<]{1,300})", re.IGNORECASE)
#: Of S3 and its relatives.
_XML_FIELD: Final = r"<(Code|Message)>([^<]{1,300})"
#: Media types of a text whose first line is the reason; without a type it must look like one.
_TEXT_TYPES: Final = frozenset({"text/plain", ""})


def is_html(response: HttpResponse) -> bool:
    """Return whether a response is a web page."""
    return media_type(response) in {"text/html", "application/xhtml+xml"}


def is_web_page(response: HttpResponse) -> bool:
    """Return whether a response is HTML where JSON should be, not JSON with a wrong type."""
    return is_html(response) and not response.content.lstrip().startswith(b"{")


def media_type(response: HttpResponse) -> str:
    """Return the media type of a body, without parameters, in lowercase; "" for none."""
    return sanitize(response.header("content-type").partition(";")[0], 80).lower()


def beginning(response: HttpResponse) -> bytes:
    """Return the part of a body in which a text is searched."""
    return response.content[:_MAX_TEXT_BYTES]


def named_digests(response: HttpResponse) -> frozenset[str]:
    """Return the digests in a body."""
    return frozenset(re.findall(_DIGEST, response.content.decode(errors="replace")))


def error_codes(response: HttpResponse) -> list[str]:
    """Return the code of each error, "" for one without."""
    return [_code(error) for error in _errors(response)]


def error_code(response: HttpResponse) -> str:
    """Return the first error code that names a reason, else the first one; "" for none."""
    codes = [sanitize(code, 64) for code in error_codes(response)]
    specific = (code for code in codes if code not in _UNSPECIFIC_CODES)
    return next(specific, codes[0] if codes else "")


def describe_response(response: HttpResponse) -> str:
    """Return status, code and reason of a response: ``404 Not Found, MANIFEST_UNKNOWN: …``."""
    status = status_text(response.status)
    code, reason = error_code(response), _reason(response)
    if not reason or reason.lower() == status.lower():
        return f"{status}, {code}" if code else status
    return f"{status}, {code}: {reason}" if code else f"{status}, {reason}"


def _reason(response: HttpResponse) -> str:
    """Return the reason that a body gives: the first error with a code or detail of its own."""
    errors = _errors(response)
    specific = (each for each in errors if _code(each) not in _UNSPECIFIC_CODES or _detail(each))
    chosen = next(specific, errors[0] if errors else None)
    return (_describe(chosen) if chosen else "") or _page(response)


def _describe(error: dict[str, Any]) -> str:
    """Join an error's message and detail."""
    message, detail = sanitize(error.get("message"), _MAX_MESSAGE_CHARACTERS), _detail(error)
    if message.lower() in _UNSPECIFIC_MESSAGES:
        return detail or message
    is_repeated = detail in message or any(each in message for each in re.findall(_DIGEST, detail))
    return message if is_repeated else f"{message} ({detail})"


def _detail(error: dict[str, Any]) -> str:
    """Return an error's detail on one line; it may be any JSON value."""
    detail = error.get("detail")
    if not detail or isinstance(detail, bool | int | float):
        return ""
    text = detail if isinstance(detail, str) else json.dumps(detail, separators=(", ", ": "))
    return sanitize(text if isinstance(detail, str) else text.replace('"', ""), 200)


def _page(response: HttpResponse) -> str:
    """Return a web page's title, S3's code and message, or the first line of a plain text."""
    if response.status < 400:
        return ""
    document = _document(response)
    if isinstance(document, dict):
        reasons = (sanitize(document.get(key), _MAX_MESSAGE_CHARACTERS) for key in _REASON_KEYS)
        return next(filter(None, reasons), "")
    text = beginning(response).decode(errors="replace")
    if title := _TITLE.search(text):
        import html  # noqa: PLC0415 - has a large table, and few errors are pages

        return sanitize(html.unescape(title[1]), _MAX_MESSAGE_CHARACTERS)
    if "<Error>" in text:
        return sanitize(": ".join(value for _, value in re.findall(_XML_FIELD, text)), 200)
    line = text.strip().partition("\n")[0].rstrip("\r")
    is_readable = line.replace("\t", " ").isprintable() and "\ufffd" not in line
    if media_type(response) in _TEXT_TYPES and is_readable and not line.startswith(("<", "[", "{")):
        return sanitize(line, _MAX_MESSAGE_CHARACTERS)
    return ""


def _document(response: HttpResponse) -> Any:
    try:
        return json.loads(response.content) if response.content else None
    except (ValueError, RecursionError):
        return None


def _errors(response: HttpResponse) -> list[dict[str, Any]]:
    """Return the errors of a body: the specification's list, one error, or texts."""
    listed = _document(response)
    if isinstance(listed, dict):
        listed = listed.get("errors") or listed.get("error")
    if isinstance(listed, dict):  # Google's APIs
        listed = [listed]
    if not isinstance(listed, list):
        return []
    errors = ({"message": each} if isinstance(each, str) else each for each in listed)
    return [each for each in errors if isinstance(each, dict)]


def _code(error: dict[str, Any]) -> str:
    """Return an error's code; Google's APIs have a number there, and the code as status."""
    codes = (error.get("code"), error.get("status"))
    return next((code for code in codes if isinstance(code, str)), "")
