"""Logins that `docker login` and `podman login` keep: auth files and credential helpers.

containers-auth.json(5) and the Docker credential helper protocol
(https://github.com/docker/docker-credential-helpers).
"""

from __future__ import annotations

import json
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ecr_image_replicator.errors import RequestError, SecretError
from ecr_image_replicator.model.references import DOCKER_HUB
from ecr_image_replicator.request.logins import Login

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ecr_image_replicator.model.references import ImageReference

_LOGGER: Final = logging.getLogger(__name__)
#: The key under which Docker stores its own login.
_DOCKER_HUB_KEY: Final = "https://index.docker.io/v1/"
#: A helper returns this user name with an identity token.
_TOKEN_USER: Final = "<token>"  # noqa: S105 - a user name
_HELPER_NAME: Final = r"[A-Za-z0-9._-]+"
_HELPER_TIMEOUT_SECONDS: Final = 30.0
#: What helpers print when they have no login; docker-credential-helpers, `credentials/error.go`.
_NOT_FOUND: Final = "credentials not found in native keychain"


def find_home() -> Path:
    """Return the home directory; for a user that has none, the root, as in containers."""
    try:
        return Path.home()
    except RuntimeError:
        return Path("/")


class AuthFiles(NamedTuple):
    """The auth files of a user, in the order in which they are searched.

    Attributes
    ----------
    paths
        Candidates; files that do not exist or may not be read are skipped.
    required
        A file that must exist, as the user named it.
    """

    paths: tuple[Path, ...]
    required: Path | None = None

    @classmethod
    def locate(
        cls,
        option: str | None,
        environment: Mapping[str, str],
        home: Path,
        run: Path = Path("/run"),
    ) -> AuthFiles:
        """Return the files to search: the option, else the variable, else the usual places.

        Parameters
        ----------
        option
            The value of ``--authfile``.
        environment
            REGISTRY_AUTH_FILE, DOCKER_CONFIG, XDG_RUNTIME_DIR and XDG_CONFIG_HOME are read.
        home, run
            The user's directory, and the system's for files that a boot removes.
        """
        if named := option or environment.get("REGISTRY_AUTH_FILE"):
            path = Path(named)
            return cls((path,), required=path)
        docker = Path(environment.get("DOCKER_CONFIG") or home / ".docker")
        runtime = environment.get("XDG_RUNTIME_DIR")
        # getPathToAuth of go.podman.io/image, pkg/docker/config
        podman = Path(runtime) / "containers" if runtime else run / "containers" / str(os.getuid())
        config = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
        return cls(
            (
                podman / "auth.json",
                config / "containers" / "auth.json",
                docker / "config.json",
                home / ".dockercfg",
            )
        )

    def find_login(self, reference: ImageReference) -> Login | None:
        """Return the login for a repository, None for anonymous access.

        Raises
        ------
        RequestError
            A file that the user named cannot be read.
        SecretError
            A file is malformed or cannot be read, or a helper failed.
        """
        for path in self.paths:
            if (document := self._read(path)) is None:
                continue
            if (login := _AuthFile(path, document).find_login(reference)) is not None:
                return login
        return None

    def _read(self, path: Path) -> dict[str, Any] | None:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            is_missing = isinstance(error, FileNotFoundError | NotADirectoryError)
            reason = getattr(error, "strerror", None) or "not UTF-8 text"
            if path == self.required:
                raise RequestError(
                    f"invalid auth file {path}: {'not found' if is_missing else reason}",
                    hint="Check --authfile or REGISTRY_AUTH_FILE.",
                ) from error
            if is_missing:
                return None
            if isinstance(error, PermissionError):
                _LOGGER.warning("skipped the auth file %s: access denied", path)
                return None
            raise SecretError(f"cannot read the auth file {path}: failed ({reason})") from error
        if not text.strip():
            return None  # as docker reads it
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            # the parser's error quotes the text
            document = None
        if not isinstance(document, dict):
            raise SecretError(
                f"invalid auth file {path}: not a JSON object",
                hint="Create it again with `docker login` or `podman login`.",
            )
        return document


@dataclass(slots=True, eq=False, repr=False)
class _AuthFile:
    path: Path
    document: Mapping[str, Any]

    def find_login(self, reference: ImageReference) -> Login | None:
        """Search the registry's own helper, the entries, and the default helper."""
        from ecr_image_replicator.request.docker_config import (  # noqa: PLC0415 - few have such files
            DockerConfig,
            MalformedEntryError,
            split_key,
        )

        registry = reference.registry
        for key, name in self._registry_helpers():
            if split_key(key)[0] == registry:
                return self._run_helper(name, key)
        config = DockerConfig.parse(self.document)
        try:
            found = config.find(registry, reference.repository) if config else None
        except MalformedEntryError:
            raise SecretError(
                f"invalid auth file {self.path}: the entry for {registry} has no user name and "
                "password",
                hint=f"Log in to {registry} again.",
            ) from None
        if found is not None:
            return Login(found.username, found.password, f"the auth file {self.path}")
        default = self.document.get("credsStore")
        if isinstance(default, str) and default:
            key = _DOCKER_HUB_KEY if registry == DOCKER_HUB else registry
            return self._run_helper(default, key)
        return None

    def _registry_helpers(self) -> Iterator[tuple[str, str]]:
        helpers = self.document.get("credHelpers")
        for key, name in helpers.items() if isinstance(helpers, dict) else ():
            if isinstance(name, str) and name:
                yield key, name

    def _run_helper(self, name: str, server: str) -> Login | None:
        """Run ``docker-credential-NAME get``; None when it has no login for the server."""
        program = f"docker-credential-{name}"
        failed = f"cannot get the login for {server} from {program}"
        if not re.fullmatch(_HELPER_NAME, name):
            raise SecretError(
                f"invalid auth file {self.path}: {name[:64]!r} is not the name of a helper"
            )
        import subprocess  # noqa: PLC0415 - few need it

        try:
            done = subprocess.run(  # noqa: S603 - the user's own configuration names it
                [program, "get"],
                input=server,
                capture_output=True,
                text=True,
                timeout=_HELPER_TIMEOUT_SECONDS,
                check=False,
            )
        except FileNotFoundError as error:
            raise SecretError(
                f"{failed}: not found on the PATH", hint=f"Install {program}, or log in again."
            ) from error
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SecretError(f"{failed}: the helper failed to run") from error
        if done.returncode != 0:
            if _NOT_FOUND in done.stdout:
                return None
            # what it printed may hold a secret
            raise SecretError(f"{failed}: the helper failed with status {done.returncode}")
        return _parse_helper_login(done.stdout, program, failed)


def _parse_helper_login(text: str, program: str, failed: str) -> Login | None:
    """Read what a helper printed; two empty strings are no login."""
    try:
        document = json.loads(text)
        username, password = document["Username"], document["Secret"]
    except (ValueError, KeyError, TypeError, RecursionError):
        username = password = None
    if username == password == "":
        return None
    if not isinstance(username, str) or not isinstance(password, str) or not password:
        raise SecretError(f"{failed}: invalid output")
    return Login("" if username == _TOKEN_USER else username, password, program)
