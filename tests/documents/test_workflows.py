"""The workflows of GitHub Actions: pinned actions, and commands that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_pinned_by_commit_with_a_version_comment(workflow: Path) -> None:
    used = re.findall(r"uses: (.+)", workflow.read_text())

    assert used
    for each in used:
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_every_make_target_and_script_exists(workflow: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for job in yaml.safe_load(workflow.read_text())["jobs"].values():
        for step in job["steps"]:
            program, *arguments = step.get("run", "true").split()
            if program == "make":
                assert all(re.search(rf"^{each}:", makefile, re.MULTILINE) for each in arguments)
            elif program.startswith("."):
                assert (ROOT / program).is_file()


def test_a_pushed_tag_publishes_the_files_of_make_release() -> None:
    loaded = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())
    steps = loaded["jobs"]["release"]["steps"]
    commands = [step.get("run") or step["uses"] for step in steps]
    order = [
        next(number for number, command in enumerate(commands) if part in command)
        for part in (".ci/run", "make release", "attest-build-provenance", "gh release create")
    ]

    assert order == sorted(order)


def test_dependabot_updates_actions_and_the_lock() -> None:
    loaded = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text())

    assert {each["package-ecosystem"] for each in loaded["updates"]} == {"github-actions", "uv"}
