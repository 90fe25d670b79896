"""The pre-commit hook runs the checks that concern the staged files."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAKE = '#!/bin/sh\necho "$@" >> "$MAKE_LOG"\nexit "${MAKE_STATUS:-0}"\n'


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with the hook and a `make` that only records its targets."""
    for name in [each for each in os.environ if each.startswith("GIT_")]:
        monkeypatch.delenv(name)
    programs, repository = tmp_path / "bin", tmp_path / "repository"
    programs.mkdir()
    (programs / "make").write_text(MAKE)
    (programs / "make").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("MAKE_LOG", str(tmp_path / "make.log"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    (tmp_path / "make.log").touch()
    repository.mkdir()
    git(repository, "init", "--quiet")
    git(repository, "config", "core.hooksPath", str(ROOT / ".githooks"))
    git(repository, "config", "user.name", "Ann")
    git(repository, "config", "user.email", "ann@example.com")
    return repository


def git(directory: Path, *arguments: str) -> int:
    return subprocess.run(
        ["git", *arguments], cwd=directory, capture_output=True, timeout=60, check=False
    ).returncode


def commit(repository: Path, name: str) -> tuple[int, list[str]]:
    """Commit a new file. Return git's exit status and the targets passed to make."""
    file = repository / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("new")
    assert git(repository, "add", name) == 0
    status = git(repository, "commit", "--quiet", "--message", "change")
    arguments = (repository.parent / "make.log").read_text().split()
    return status, [each for each in arguments if not each.startswith("--")]


@pytest.mark.parametrize(
    ("name", "targets"),
    [
        ("tests/unit/test_new.py", ["lint", "types"]),
        ("handler/ecr_image_replicator/copy/plan.py", ["lint", "types", "contracts"]),
        (".importlinter", ["contracts"]),
        ("template.yaml", ["template"]),
        ("examples/cloudformation/new.yaml", ["template"]),
        ("docs/new.md", ["pages"]),
        ("LICENSE", []),
    ],
)
def test_a_commit_runs_the_checks_for_its_files(
    repository: Path, name: str, targets: list[str]
) -> None:
    assert commit(repository, name) == (0, targets)
    makefile = (ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{target}:.*##", makefile, re.MULTILINE) for target in targets)


def test_a_failed_check_stops_the_commit(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAKE_STATUS", "2")

    status, targets = commit(repository, "docs/new.md")

    assert status != 0
    assert targets == ["pages"]
    assert git(repository, "rev-parse", "--verify", "HEAD") != 0


def test_make_hooks_installs_the_hook() -> None:
    assert re.search(
        r"^hooks:.*\n\tgit config core\.hooksPath \.githooks$",
        (ROOT / "Makefile").read_text(),
        re.MULTILINE,
    )
