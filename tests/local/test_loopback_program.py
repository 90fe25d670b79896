from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from local.cloud import LocalCloud, Ports

ROOT = Path(__file__).parents[2]
ARGUMENTS = ("--source-port=0", "--destination-port=0", "--cloudformation-port=0", "--proxy-port=0")


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "local", *ARGUMENTS, f"--directory={tmp_path}"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("Responses"):
                break
        try:
            yield process, "".join(lines)
        finally:
            process.kill()


def event_of(directory: Path) -> dict[str, Any]:
    event = json.loads((directory / "cloud.json").read_text())["event"]
    assert isinstance(event, dict)
    return event


def test_the_program_serves_demo_images_until_it_is_interrupted(
    cloud: tuple[subprocess.Popen[str], str], tmp_path: Path
) -> None:
    process, _ = cloud
    host, _, rest = event_of(tmp_path)["ResourceProperties"]["SrcImage"][9:].partition("/")
    repository, _, tag = rest.partition(":")
    connection = http.client.HTTPConnection(host, timeout=60)
    connection.request("GET", f"/v2/{repository}/manifests/{tag}")
    document = json.loads(connection.getresponse().read())
    connection.close()
    assert len(document["manifests"]) == 3
    assert "SSL_CERT_FILE=" in (tmp_path / "environment").read_text()
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert not (tmp_path / "environment").exists()


def test_the_program_serves_docker_hub_and_ecr_by_their_host_names(
    cloud: tuple[subprocess.Popen[str], str], tmp_path: Path
) -> None:
    _, text = cloud
    exports = json.loads((tmp_path / "cloud.json").read_text())["environment"]
    context = ssl.create_default_context(cafile=exports["SSL_CERT_FILE"])
    proxy = exports["HTTPS_PROXY"].removeprefix("http://")
    for host in [*re.findall(r"^Amazon ECR +([^/]+)/", text, re.MULTILINE), "auth.docker.io"]:
        connection = http.client.HTTPSConnection(proxy, timeout=60, context=context)
        connection.set_tunnel(host, 443)
        connection.request("GET", "/token?scope=repository:library/demo:pull")
        assert connection.getresponse().status == (200 if host == "auth.docker.io" else 404)
        connection.close()


def test_the_program_prints_cloudformation_responses(
    cloud: tuple[subprocess.Popen[str], str], tmp_path: Path
) -> None:
    process, _ = cloud
    url = event_of(tmp_path)["ResponseURL"]
    context = ssl.create_default_context(cafile=str(tmp_path / "loopback-ca.pem"))
    request = urllib.request.Request(  # noqa: S310 - the program's own URL
        url, b'{"Status": "FAILED"}', {"Content-Type": ""}, method="PUT"
    )
    with urllib.request.urlopen(request, context=context, timeout=60) as response:  # noqa: S310 - the same
        assert response.status == 200
    assert process.stdout is not None
    printed = [process.stdout.readline() for _ in range(5)]
    assert any("Reason is required" in line for line in printed)


def test_the_error_for_a_port_in_use_names_its_option(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [
                *(sys.executable, "-m", "local", *ARGUMENTS[1:], f"--source-port={port}"),
                f"--directory={tmp_path}",
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert f"cannot listen on port {port} for the source" in done.stderr
    assert "--source-port" in done.stderr


def test_a_second_cloud_does_not_overwrite_the_files_of_a_running_one(
    cloud: tuple[subprocess.Popen[str], str], tmp_path: Path
) -> None:
    certificate = (tmp_path / "loopback-ca.pem").read_bytes()
    done = subprocess.run(
        [sys.executable, "-m", "local", *ARGUMENTS, f"--directory={tmp_path}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert cloud[0].poll() is None
    assert done.returncode == 1
    assert "another local cloud uses the directory" in done.stderr
    assert (tmp_path / "loopback-ca.pem").read_bytes() == certificate


def test_environment_variables_have_absolute_paths(tmp_path: Path) -> None:
    with LocalCloud(Path(os.path.relpath(tmp_path)), Ports(0, 0, 0, 0)) as cloud:
        assert Path(cloud.environment["SSL_CERT_FILE"]).is_absolute()
        assert cloud.environment_file.is_absolute()
