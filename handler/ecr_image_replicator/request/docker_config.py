"""Logins in Docker's configuration file, as Docker, Podman and Kubernetes write it.

containers-auth.json(5): a key is a registry, or a registry and the beginning of a repository's
path; the longest match wins. Docker before 1.7 wrote ``.dockercfg``, the same without ``auths``.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ecr_image_replicator.model.references import canonical_registry

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Paths after the host that still mean the whole registry: ``https://index.docker.io/v1/``.
_WHOLE_REGISTRY: Final = frozenset({"", "v1", "v2"})
_URL_ALPHABET: Final = str.maketrans("-_", "+/")
_HELPER_KEYS: Final = frozenset({"credsStore", "credHelpers"})
_HOST: Final = r"(?:https?://)?(?:localhost|[^/\s.:]*+[.:][^/\s]*+)(?:/\S*)?"


@dataclass(frozen=True, slots=True)
class DockerLogin:
    """A user name and password, or an identity token.

    Attributes
    ----------
    username
        "" for an identity token, which `password` then holds.
    """

    username: str
    password: str = field(repr=False)


class MalformedEntryError(ValueError):
    """The entry for the registry has content that is not a login."""


@dataclass(slots=True, eq=False, repr=False)
class DockerConfig:
    """A parsed configuration file.

    Attributes
    ----------
    entries
        Logins by registry, or by registry and path.
    helpers
        Registries whose passwords a credential helper keeps outside the file; "" for all.
    """

    entries: Mapping[str, Any]
    helpers: frozenset[str]

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> DockerConfig | None:
        """Read a JSON object; return None if it is not a Docker configuration."""
        if "auths" in document or _HELPER_KEYS & document.keys():
            auths = document.get("auths", {})
            entries = auths if isinstance(auths, dict) else {}
            return cls(entries, _parse_helpers(document))
        is_legacy = document and all(
            isinstance(entry, dict) and re.fullmatch(_HOST, key) for key, entry in document.items()
        )
        return cls(document, frozenset()) if is_legacy else None

    def find(self, registry: str, repository: str = "") -> DockerLogin | None:
        """Return the login for a repository, None if there is none.

        Empty entries, which credential helpers leave behind, are ignored.

        Parameters
        ----------
        registry
            ``host[:port]``, as references name it.
        repository
            The path in the registry; "" to match entries for the whole registry only.

        Raises
        ------
        MalformedEntryError
            The best matching entry is not a login.
        """
        found = [
            (path, entry)
            for key, entry in self.entries.items()
            if (path := _matching_path(key, registry, repository)) is not None
            and not _is_empty(entry)
        ]
        if not found:
            return None
        _, entry = max(found, key=lambda each: len(each[0]))
        return parse_entry(entry)

    def uses_helper(self, registry: str) -> bool:
        """Return whether a credential helper keeps the registry's password."""
        return not self.helpers.isdisjoint({"", registry})


def split_key(key: str) -> tuple[str, str]:
    """Return the registry that a key names, as references do, and the path after its host."""
    host, _, path = re.sub(r"^https?://", "", key).partition("/")
    return canonical_registry(host), path.strip("/")


def parse_entry(entry: Any) -> DockerLogin:
    """Read one entry: an identity token, a user name and password, or both in base64.

    Raises
    ------
    MalformedEntryError
        It is none of those.
    """
    if not isinstance(entry, dict):
        raise MalformedEntryError
    token = entry.get("identitytoken")
    if isinstance(token, str) and token:
        return DockerLogin("", token)
    username, password = entry.get("username"), entry.get("password")
    if isinstance(username, str) and username and isinstance(password, str) and password:
        return DockerLogin(username, password)
    return decode_pair(entry.get("auth"))


def decode_pair(text: Any) -> DockerLogin:
    """Read the base64 of ``user:password`` (RFC 7617), as lenient as the programs that read it.

    The text may be wrapped, lack its padding, or have the alphabet for URLs (RFC 4648, section 5).

    Raises
    ------
    MalformedEntryError
        It is not that.
    """
    if not isinstance(text, str):
        raise MalformedEntryError
    plain = "".join(text.split()).translate(_URL_ALPHABET).rstrip("=")
    try:
        decoded = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True).decode()
    except (ValueError, binascii.Error):
        raise MalformedEntryError from None
    username, _, password = decoded.partition(":")
    # some writers pad the decoded text with NUL
    password = password.rstrip("\0")
    if not username or not password:
        raise MalformedEntryError
    return DockerLogin(username, password)


def _matching_path(key: str, registry: str, repository: str) -> str | None:
    """Return the part of a key after its host, None if the key is not for this repository."""
    own, path = split_key(key)
    if own != registry:
        return None
    if path in _WHOLE_REGISTRY:
        return ""
    return path if f"{repository}/".startswith(f"{path}/") else None


def _is_empty(entry: Any) -> bool:
    return isinstance(entry, dict) and not any(
        entry.get(key) for key in ("auth", "identitytoken", "username", "password")
    )


def _parse_helpers(document: Mapping[str, Any]) -> frozenset[str]:
    helpers = document.get("credHelpers")
    registries = {split_key(key)[0] for key in (helpers if isinstance(helpers, dict) else ())}
    return frozenset(registries | ({""} if document.get("credsStore") else set()))
