"""The ``mirror`` command in real processes: output, files and exit codes."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from local.registry import (
    ErrorCode,
    Operation,
    RegistryError,
    RegistryServer,
    SpecificationPolicy,
)
from local.registry.store import Store
from local.web import DroppedConnectionError, Request
from tests.functional.mirror_fixtures import methods, put_tags
from tests.waiting import MAX_WAIT_SECONDS, wait_until

from ecr_image_replicator.cli.exit_codes import Exit

Start = Callable[..., RegistryServer]
#: More than are copied at once: an image is finished before.
SIGNAL_AT = 20


def _start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    paths = {"PYTHONPATH": os.pathsep.join(sys.path), "PLAIN_HTTP_REGISTRIES": "127.0.0.1"}
    return subprocess.Popen(
        [sys.executable, "-m", "ecr_image_replicator", "mirror", *arguments],
        env={**kept, **paths, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _run(*arguments: str | Path, **environment: str) -> tuple[int, str, str]:
    process = _start(*map(str, arguments), **environment)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def _write(path: Path, source: RegistryServer, destination: RegistryServer, rest: str = "") -> Path:
    path.write_text(
        f"""
Repositories:
  - SrcRepository: {source.host}/team/app
    DestRepository: {destination.host}/mirror/{{name}}
{rest}
"""
    )
    return path


def test_a_yaml_file_is_mirrored_and_the_next_run_copies_nothing(
    registries: Start, tmp_path: Path
) -> None:
    source, destination = registries(), registries()
    put_tags(source, "team/app", ["1.1", "1.10", "1.9", "latest"], platforms=2)
    file = _write(tmp_path / "m.yaml", source, destination, "    Tags: [1.10, latest]")
    state, report = tmp_path / "state.json", tmp_path / "report.json"

    status, out, err = _run(file, "--state", state, "--report", report)

    assert status == Exit.DONE, err
    assert set(destination.store.tags("mirror/app")) == {"1.10", "latest"}
    assert out.startswith("2 images: 2 copied")
    assert "2 images chosen, 0 unchanged, 2 to copy or compare" in err
    assert f"{destination.host}/mirror/app:1.10 copied" in err
    assert "2 of 2 images" in err
    document = json.loads(report.read_text())
    assert document["Summary"]["Copied"] == "2"
    assert [each["Status"] for each in document["Copied"]] == ["Copied"] * 2

    source.clear_requests()
    status, out, err = _run(file, "--state", state, "--json")
    assert status == Exit.DONE, err
    values = json.loads(out)
    assert (values["Unchanged"], values["Copied"], values["Changed"]) == ("2", "0", "false")
    assert methods(source.requests) == {"HEAD manifest": 2}


def test_a_dry_run_prints_the_chosen_tags_with_reasons_and_copies_nothing(
    registries: Start, tmp_path: Path
) -> None:
    source, destination = registries(), registries()
    put_tags(source, "team/app", ["1.0.0", "1.1.0", "2.0.0"])
    rest = '    Versions: "1.*"\n    Newest: 1\n    Tags: ["9"]'
    file = _write(tmp_path / "m.yaml", source, destination, rest)

    status, out, _ = _run(file, "--dry-run")

    assert status == Exit.DONE
    lines = out.splitlines()
    assert lines[0].split() == [
        "copy",
        f"{source.host}/team/app:1.1.0",
        "->",
        f"{destination.host}/mirror/app:1.1.0",
        "(version",
        "in",
        "1.*)",
    ]
    assert lines[1].startswith("leave out")
    assert "not among the newest 1" in lines[1]
    assert lines[2].startswith("fail")
    assert not destination.store.repositories
    status, out, _ = _run(file, "--dry-run", "--json")
    document = json.loads(out)
    assert [each["Action"] for each in document["Choice"]] == ["copy", "leave out", "fail"]


def test_characters_that_a_locale_lacks_are_escaped(tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(
        "Images: [{SrcImage: 's3://bucket/\u00e4.tar', DestImage: 'registry.example.com/app:1'}]",
        encoding="utf-8",
    )
    status, out, err = _run(file, "--dry-run", PYTHONIOENCODING="ascii")

    assert (status, "s3://bucket/\\xe4.tar" in out) == (Exit.DONE, True), err


def test_a_json_file_is_mirrored(registries: Start, tmp_path: Path) -> None:
    source, destination = registries(), registries()
    put_tags(source, "team/app", ["1"])
    image = {"SrcImage": f"{source.host}/team/app:1", "DestImage": f"{destination.host}/app:1"}
    file = tmp_path / "m.json"
    file.write_text(json.dumps({"Images": [image], "MaxFailures": 0}))

    status, out, err = _run(file)

    assert status == Exit.DONE
    assert "1" in destination.store.tags("app")
    assert out.startswith("1 image: 1 copied")
    assert "1 image chosen" in err
    assert "(1 of 1 image)" in err


def test_more_failures_than_maxfailures_fail_the_run(registries: Start, tmp_path: Path) -> None:
    source, destination = registries(), registries()
    put_tags(source, "team/app", ["1"])
    file = _write(tmp_path / "m.yaml", source, destination, '    Tags: ["1", "2"]')

    status, _, err = _run(file)

    assert status == Exit.FAILED
    assert "1" in destination.store.tags("mirror/app")
    with file.open("a") as opened:
        opened.write("MaxFailures: 1\n")
    assert _run(file)[0] == Exit.DONE, err


def test_a_failure_of_a_repository_names_its_property(registries: Start, tmp_path: Path) -> None:
    source, destination = registries(), registries()
    file = _write(tmp_path / "m.yaml", source, destination)

    status, _, err = _run(file)

    assert status == Exit.FAILED
    assert "Check the repository name in SrcRepository" in err
    assert "SrcImage" not in err


def test_verbose_prints_log_lines(registries: Start, tmp_path: Path) -> None:
    source, destination = registries(), registries()
    put_tags(source, "team/app", ["1"])
    file = _write(tmp_path / "m.yaml", source, destination)

    assert "info: " not in _run(file, "--dry-run")[2]
    status, out, err = _run(file, "--verbose")

    assert status == Exit.DONE, err
    assert "info: " in err
    assert "info: " not in out
    assert _run(file, "--verbose", "--quiet")[0] == Exit.USAGE


class _ThrottleOncePolicy(SpecificationPolicy):
    """A registry that responds 429 to the first GET of a manifest."""

    def __init__(self) -> None:
        self._is_first = True

    def before(self, operation: Operation, request: Request, store: Store) -> None:  # noqa: ARG002 - the policy's
        if request.method == "GET" and "/manifests/" in request.path and self._is_first:
            self._is_first = False
            raise RegistryError(ErrorCode.TOOMANYREQUESTS, "wait", headers={"Retry-After": "0"})


def test_the_wait_for_a_rate_limit_is_printed(registries: Start, tmp_path: Path) -> None:
    source, destination = registries(policy=_ThrottleOncePolicy()), registries()
    put_tags(source, "team/app", ["1"])

    status, _, err = _run(_write(tmp_path / "m.yaml", source, destination))

    assert status == Exit.DONE, err
    assert f"retrying in 0 s: cannot pull {source.host}/team/app" in err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a map"),
        ("- a", "not a map"),
        ("a: [", "invalid mirror file"),
        ("a: b\n---\nc: d\n", "expected a single document in the stream but found another"),
        ("Repositorys: []", "unknown property 'Repositorys'"),
        ("Repositories: [{SrcRepository: a, DestRepository: b.example/c, Tag: x}]", "'Tag'"),
    ],
)
def test_an_invalid_file_is_an_error_before_any_request(
    tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(text)

    status, _, err = _run(file)

    assert status == Exit.USAGE
    assert message in err
    assert _run(tmp_path / "none.yaml")[0] == Exit.USAGE


def test_an_output_file_that_cannot_be_written_is_an_error_before_any_request(
    registries: Start, tmp_path: Path
) -> None:
    source, destination = registries(), registries()
    file = _write(tmp_path / "m.yaml", source, destination)

    for option in ("--report", "--state"):
        status, _, err = _run(file, option, tmp_path / "none" / "file.json")
        assert (status, err.count("\n")) == (Exit.USAGE, 1)
        assert "file.json: No such file or directory" in err
    status, _, err = _run(
        file, "--report", tmp_path / "a", "--state", tmp_path / ".." / tmp_path.name / "a"
    )
    assert status == Exit.USAGE
    assert "a: --report and --state name the same file" in err
    assert not source.requests


class _SignalOnPush(SpecificationPolicy):
    """A registry that sends SIGINT at the twentieth manifest, and drops that and all later ones."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None
        self._pushes = itertools.count(1)

    def before(self, operation: Operation, request: Request, store: Store) -> None:  # noqa: ARG002 - overrides
        is_push = request.method == "PUT" and "/manifests/" in request.path
        # several threads push at the same time; next() returns each number once
        if not is_push or (number := next(self._pushes)) < SIGNAL_AT:
            return
        wait_until(lambda: self.process)
        assert self.process is not None
        if number == SIGNAL_AT:
            self.process.send_signal(signal.SIGINT)
        self.process.wait(MAX_WAIT_SECONDS)
        raise DroppedConnectionError


def test_an_interrupted_run_writes_its_state_and_report(registries: Start, tmp_path: Path) -> None:
    policy = _SignalOnPush()
    source, destination = registries(), registries(policy=policy)
    put_tags(source, "team/app", [f"1.{number}" for number in range(40)])
    file = _write(tmp_path / "m.yaml", source, destination)
    state, report = tmp_path / "state.json", tmp_path / "report.json"

    policy.process = _start(str(file), "--state", str(state), "--report", str(report))
    _, err = policy.process.communicate(timeout=60)

    assert policy.process.returncode == Exit.INTERRUPTED, err
    assert "error: interrupted: finished images stay at the destination" in err
    document: dict[str, Any] = json.loads(report.read_text())
    copied = int(document["Summary"]["Copied"])
    assert 1 <= copied < SIGNAL_AT
    left = {each["Destination"] for each in document["Left"]}
    assert len(left) == int(document["Summary"]["Left"]) == 40 - copied
    assert {each["Error"] for each in document["Left"]} == {"the run was stopped"}
    assert len(json.loads(state.read_text())["Images"]) == copied
    # the responses to others may not have been read
    assert copied <= len(destination.store.tags("mirror/app")) < SIGNAL_AT
