"""Auth files of Docker and Podman, with credential helpers that are real programs."""

from __future__ import annotations

import base64
import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from ecr_image_replicator.cli.arguments import option_name
from ecr_image_replicator.cli.auth_file import AuthFiles, find_home
from ecr_image_replicator.cli.exit_codes import Exit, exit_status
from ecr_image_replicator.errors import RequestError, SecretError
from ecr_image_replicator.model.references import parse_image_reference

HELPER = """#!/bin/sh
read -r server
case "$server" in
  {server}) echo '{{"ServerURL": "x", "Username": "{username}", "Secret": "hunter2"}}' ;;
  broken.example) echo 'hunter2 leaked'; exit 3 ;;
  *) echo 'credentials not found in native keychain'; exit 1 ;;
esac
"""


def auth(username: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{username}:hunter2".encode()).decode()}


def write(path: Path, document: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def found(files: AuthFiles, image: str) -> tuple[str, str] | None:
    login = files.find_login(parse_image_reference(image))
    return (login.username, login.password) if login else None


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    program = tmp_path / "bin" / "docker-credential-test"
    program.parent.mkdir()
    program.write_text(HELPER.format(server="quay.io", username="helped"))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return "test"


def test_credentials_of_docker_login_are_used_for_docker_hub(tmp_path: Path) -> None:
    write(tmp_path / ".docker/config.json", {"auths": {"https://index.docker.io/v1/": auth("a")}})
    files = AuthFiles.locate(None, {}, tmp_path)
    assert found(files, "nginx:1.27") == ("a", "hunter2")
    assert found(files, "quay.io/a:1") is None


def test_podmans_auth_file_has_precedence_over_dockers(tmp_path: Path) -> None:
    write(tmp_path / "run/containers/auth.json", {"auths": {"quay.io": auth("podman")}})
    write(tmp_path / ".docker/config.json", {"auths": {"quay.io": auth("d"), "r.io": auth("e")}})
    files = AuthFiles.locate(None, {"XDG_RUNTIME_DIR": str(tmp_path / "run")}, tmp_path)
    assert found(files, "quay.io/a:1") == ("podman", "hunter2")
    assert found(files, "r.io/a:1") == ("e", "hunter2")


def test_podmans_auth_file_of_a_user_without_a_session_is_read(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write(run / f"containers/{os.getuid()}/auth.json", {"auths": {"quay.io": auth("podman")}})
    write(tmp_path / ".docker/config.json", {"auths": {"quay.io": auth("docker")}})
    files = AuthFiles.locate(None, {}, tmp_path, run)
    assert found(files, "quay.io/a:1") == ("podman", "hunter2")
    session = {"XDG_RUNTIME_DIR": str(tmp_path / "session")}
    files = AuthFiles.locate(None, session, tmp_path, run)
    assert found(files, "quay.io/a:1") == ("docker", "hunter2")


def test_an_empty_auth_file_has_no_logins(tmp_path: Path) -> None:
    empty = tmp_path / "config.json"
    empty.write_text("\n")
    assert found(AuthFiles.locate(str(empty), {}, tmp_path), "quay.io/a:1") is None


def test_a_default_file_that_may_not_be_read_is_skipped_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / ".dockercfg", {"quay.io": auth("legacy")})
    denied = tmp_path / ".docker/config.json"
    read_text = Path.read_text

    def read(path: Path, encoding: str | None = None) -> str:
        if path == denied:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return read_text(path, encoding)

    monkeypatch.setattr(Path, "read_text", read)
    assert found(AuthFiles.locate(None, {}, tmp_path), "quay.io/a:1") == ("legacy", "hunter2")
    assert f"skipped the auth file {denied}: access denied" in caplog.text
    with pytest.raises(RequestError, match="Permission denied"):
        found(AuthFiles.locate(str(denied), {}, tmp_path), "quay.io/a:1")


def test_a_helper_that_prints_empty_credentials_has_no_login(tmp_path: Path, helper: str) -> None:
    program = tmp_path / "bin" / f"docker-credential-{helper}"
    program.write_text('#!/bin/sh\necho \'{"ServerURL": "x", "Username": "", "Secret": ""}\'\n')
    write(tmp_path / ".docker/config.json", {"credsStore": helper})
    write(tmp_path / ".dockercfg", {"quay.io": auth("legacy")})
    assert found(AuthFiles.locate(None, {}, tmp_path), "quay.io/a:1") == ("legacy", "hunter2")


def test_a_user_without_a_home_directory_has_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Path:
        raise RuntimeError

    monkeypatch.setattr(Path, "home", fail)
    assert find_home() == Path("/")


@pytest.mark.parametrize("named_by", ["option", "variable"])
def test_a_configured_auth_file_replaces_the_default_files(tmp_path: Path, named_by: str) -> None:
    write(tmp_path / ".docker/config.json", {"auths": {"quay.io": auth("docker")}})
    own = str(write(tmp_path / "own.json", {"auths": {"quay.io/team": auth("team")}}))
    option = own if named_by == "option" else None
    environment = {"REGISTRY_AUTH_FILE": own} if named_by == "variable" else {}
    files = AuthFiles.locate(option, environment, tmp_path)
    assert found(files, "quay.io/team/app:1") == ("team", "hunter2")
    assert found(files, "quay.io/other/app:1") is None


def test_the_authfile_option_has_precedence_over_the_variable(tmp_path: Path) -> None:
    own = write(tmp_path / "own.json", {"auths": {"quay.io": auth("own")}})
    files = AuthFiles.locate(str(own), {"REGISTRY_AUTH_FILE": "/nowhere"}, tmp_path)
    assert found(files, "quay.io/a:1") == ("own", "hunter2")


@pytest.mark.parametrize(("name", "reason"), [("absent.json", "not found"), (".", "Is a direct")])
def test_a_configured_auth_file_that_cannot_be_read_is_an_invalid_argument(
    tmp_path: Path, name: str, reason: str
) -> None:
    files = AuthFiles.locate(str(tmp_path / name), {}, tmp_path)
    with pytest.raises(RequestError, match=f"invalid auth file .*: {reason}") as caught:
        found(files, "quay.io/a:1")
    assert caught.value.render(option_name).endswith(". Check --authfile or REGISTRY_AUTH_FILE.")
    assert exit_status(caught.value) is Exit.USAGE


@pytest.mark.parametrize("key", ["credHelpers", "credsStore"])
def test_credentials_are_read_from_a_credential_helper(
    tmp_path: Path, helper: str, key: str
) -> None:
    value: Any = helper if key == "credsStore" else {"quay.io": helper}
    write(tmp_path / ".docker/config.json", {"auths": {"quay.io": {}}, key: value})
    files = AuthFiles.locate(None, {}, tmp_path)
    assert found(files, "quay.io/a:1") == ("helped", "hunter2")
    assert found(files, "r.io/a:1") is None


def test_the_message_for_a_failed_credential_helper_has_its_name_and_not_its_output(
    tmp_path: Path, helper: str
) -> None:
    write(tmp_path / ".docker/config.json", {"credsStore": helper})
    files = AuthFiles.locate(None, {}, tmp_path)
    with pytest.raises(SecretError, match="docker-credential-test: the helper failed") as caught:
        found(files, "broken.example/a:1")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"credHelpers": {"quay.io": "absent-one"}}, "not found on the PATH"),
        ({"credHelpers": {"quay.io": "../evil"}}, "is not the name of a helper"),
        ({"auths": {"quay.io": {"auth": "hunter2"}}}, "has no user name and password"),
        ([], "not a JSON object"),
    ],
)
def test_the_message_for_an_invalid_auth_file_does_not_quote_its_content(
    tmp_path: Path, document: Any, message: str
) -> None:
    write(tmp_path / ".docker/config.json", document)
    with pytest.raises(SecretError, match=message) as caught:
        found(AuthFiles.locate(None, {}, tmp_path), "quay.io/a:1")
    assert "hunter2" not in str(caught.value)


def test_an_identity_token_has_no_user_name(tmp_path: Path, helper: str) -> None:
    program = tmp_path / "bin" / f"docker-credential-{helper}"
    program.write_text(HELPER.format(server="quay.io", username="<token>"))
    write(tmp_path / ".docker/config.json", {"credsStore": helper})
    assert found(AuthFiles.locate(None, {}, tmp_path), "quay.io/a:1") == ("", "hunter2")
