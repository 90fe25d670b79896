"""Image references: ``[scheme://][host[:port]/]repository[:tag][@digest]``.

OCI distribution specification 1.1, "Pulling manifests" (repository and tag), with the host in
front of the repository as in Docker's references.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final, NamedTuple

from ecr_image_replicator.errors import InvalidDigestError, InvalidReferenceError
from ecr_image_replicator.model.digests import Digest

DOCKER_HUB: Final = "docker.io"
_DOCKER_HUB_ALIASES: Final = frozenset(
    {"docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"}
)
_SCHEMES: Final = frozenset({"docker", "oci"})
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_HOST_NAME: Final = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*"
)
_COMPONENT: Final = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_MAX_REPOSITORY_CHARACTERS: Final = 255
_DEFAULT_TAG: Final = "latest"


class ImageReference(NamedTuple):
    """An image in a registry.

    Attributes
    ----------
    registry
        ``host`` or ``host:port``, lowercase; ``docker.io`` for all host names of Docker Hub.
    repository
        With ``library/`` where Docker Hub implies it.
    tag
        "" only with a digest.
    digest
        None without one. A digest takes precedence over the tag.
    """

    registry: str
    repository: str
    tag: str
    digest: Digest | None = None

    @property
    def name(self) -> str:
        """Registry and repository, without tag and digest."""
        return f"{self.registry}/{self.repository}"

    @property
    def selector(self) -> str:
        """The digest, or the tag without a digest."""
        return str(self.digest) if self.digest else self.tag

    def manifest_name(self, selector: str) -> str:
        """Return the name of a manifest of the repository, by its tag or digest."""
        return f"{self.name}{'@' if ':' in selector else ':'}{selector}"

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"


def parse_image_reference(text: str) -> ImageReference:
    """Parse ``[docker://|oci://][host[:port]/]repository[:tag][@digest]``.

    A reference without a host is on Docker Hub; one without tag and digest has the tag ``latest``.

    Raises
    ------
    InvalidReferenceError
        The message quotes the text and names the malformed part.
    """
    rest = _without_scheme(text)
    rest, digest = _split_digest(text, rest)
    registry, path = _split_registry(rest)
    registry = _parse_registry(text, registry)
    repository, colon, tag = path.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise _invalid(
            text,
            f"{_shown(tag)} is not a tag",
            hint="A tag has 1 to 128 letters, digits, '_', '.' and '-'.",
        )
    if registry == DOCKER_HUB and "/" not in repository:
        repository = f"library/{repository}"
    _check_repository(text, repository)
    if not tag and digest is None:
        tag = _DEFAULT_TAG
    return ImageReference(registry, repository, tag, digest)


def is_tag(text: str) -> bool:
    """Return whether a text is a valid tag."""
    return _TAG.fullmatch(text) is not None


def canonical_registry(host: str) -> str:
    """Return ``host[:port]`` in lowercase, and ``docker.io`` for every host of Docker Hub."""
    registry = host.lower()
    return DOCKER_HUB if registry in _DOCKER_HUB_ALIASES else registry


def split_host(registry: str) -> tuple[str, int | None]:
    """Split ``host``, ``host:port`` or ``[ipv6]:port``; the host has no brackets."""
    if registry.startswith("["):
        host, _, port = registry[1:].partition("]")
        port = port.removeprefix(":")
    else:
        host, _, port = registry.partition(":")
    return host, int(port) if port else None


def is_loopback(registry: str) -> bool:
    """Return whether a registry's host name or address is a loopback one."""
    host, _ = split_host(registry)
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _without_scheme(text: str) -> str:
    scheme = _SCHEME.match(text)
    if scheme is None:
        return text
    if scheme[1].lower() not in _SCHEMES:
        raise _invalid(
            text,
            f"unknown scheme {scheme[1]}://",
            hint="Use docker://, oci:// or no scheme for a registry, s3:// for an archive.",
        )
    return text[scheme.end() :]


def _split_digest(text: str, rest: str) -> tuple[str, Digest | None]:
    name, at, digest = rest.partition("@")
    if not at:
        return rest, None
    try:
        return name, Digest.parse(digest)
    except InvalidDigestError as error:
        reason = _without_query("".join(map(str, error.message)))
        raise _invalid(text, reason) from error


def _split_registry(rest: str) -> tuple[str, str]:
    """Split off the host: it is ``localhost`` or contains a dot, a colon or a bracket."""
    first, slash, path = rest.partition("/")
    is_host = any(mark in first for mark in ".:[") or first.lower() == "localhost"
    return (first, path) if slash and is_host else (DOCKER_HUB, rest)


def _parse_registry(text: str, registry: str) -> str:
    bracketed = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\](?::([0-9]{1,5}))?", registry)
    named = re.fullmatch(r"([^:\[\]]+)(?::([0-9]{1,5}))?", registry)
    if bracketed:
        try:
            ipaddress.IPv6Address(bracketed[1])
        except ValueError as error:
            raise _invalid(text, f"{_shown(bracketed[1])} is not an IPv6 address") from error
        port = bracketed[2]
    elif named and _HOST_NAME.fullmatch(named[1]) and len(named[1]) <= 253:
        port = named[2]
    else:
        raise _invalid(text, f"{_shown(registry)} is not host or host:port")
    if port is not None and not 0 < int(port) < 65536:
        raise _invalid(text, f"port {port} is not between 1 and 65535")
    return canonical_registry(registry)


def _check_repository(text: str, repository: str) -> None:
    if not repository or repository == "library/":
        raise _invalid(text, "it has no repository")
    if len(repository) > _MAX_REPOSITORY_CHARACTERS:
        raise _invalid(
            text, f"the repository is longer than {_MAX_REPOSITORY_CHARACTERS} characters"
        )
    for component in repository.split("/"):
        if not _COMPONENT.fullmatch(component):
            raise _invalid(
                text,
                f"{_shown(component)} is not a component of a repository name",
                hint="Use lowercase letters and digits, separated by '.', '_', '__' or '-'.",
            )


def _shown(part: str) -> str:
    part = _without_query(part)
    return repr(part if len(part) <= 80 else part[:77] + "...")


def _invalid(text: str, reason: str, *, hint: str = "") -> InvalidReferenceError:
    shown = _without_query(_without_login(text))
    shown = shown if len(shown) <= 300 else shown[:297] + "..."
    return InvalidReferenceError(f"invalid image reference {shown!r}: {reason}", hint=hint or ())


def _without_query(text: str) -> str:
    """Mask what follows a question mark: perhaps the signature of a presigned URL."""
    path, mark, query = text.partition("?")
    return f"{path}?***" if mark and query else text


def _without_login(text: str) -> str:
    """Mask what precedes the last @ that no digest follows: perhaps a user name and password."""
    at = len(text)
    while (at := text.rfind("@", 0, at)) >= 0 and text.startswith(("sha256:", "sha512:"), at + 1):
        pass
    start = text.find("//", 0, max(at, 0)) + 2
    start = start if start >= 2 else 0
    return f"{text[:start]}***{text[at:]}" if ":" in text[start : max(at, 0)] else text
