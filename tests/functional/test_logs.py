"""The log at level DEBUG: no secrets, and the IDs of the request in every line."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from local.certificates import CertificateAuthority
from local.cloudformation import CloudFormationEndpoint
from local.images import build_image, build_layer, push
from local.registry import BasicAuthentication, BearerAuthentication, RegistryServer

ROOT = Path(__file__).parent.parent.parent

PROGRAM = """
import json, logging, sys
logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)
import app
from tests.functional.conftest import FakeContext
logging.getLogger().setLevel(logging.DEBUG)
for event in json.loads(sys.stdin.read()):
    app.lambda_handler(event, FakeContext())
"""


def run(events: list[dict[str, Any]], ca_file: Path) -> str:
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(events),
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{ROOT / 'handler'}:{ROOT}",
            "SSL_CERT_FILE": str(ca_file),
            "RESPONSE_HOSTS": "localhost",
            "POWERTOOLS_LOG_LEVEL": "DEBUG",
            "PROGRESS_INTERVAL_SECONDS": "1e-9",
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return finished.stdout + finished.stderr


def test_no_secret_is_logged_at_debug_level(
    registries: Callable[..., RegistryServer],
    cloudformation: Callable[..., CloudFormationEndpoint],
    authority: CertificateAuthority,
) -> None:
    login = {"robot": "correct-horse"}
    source = registries(
        authentication=BearerAuthentication(login, anonymous_pull=False), blob_redirects="absolute"
    )
    image = build_image([build_layer(2**20, seed=seed) for seed in range(3)])
    pair = base64.b64encode(b"robot:correct-horse").decode()
    for content in image.blobs.values():
        source.store.put_blob("team/app", content)
    source.store.put_manifest("team/app", "1", image.manifest, image.media_type)
    destination = registries(authentication=BasicAuthentication(login))
    endpoint = cloudformation(statuses=[503])
    properties = {
        "SrcImage": f"{source.host}/team/app:1",
        "DestImage": f"{destination.host}/mirror/app:1",
        "SrcCreds": "robot:correct-horse",
        "DestCreds": "robot:correct-horse",
    }
    events = [
        endpoint.event("Create", properties),
        endpoint.event("Create", {**properties, "SrcCreds": "robot:wrong-battery"}),
        endpoint.event("Create", {**properties, "SrcImage": "robot:typed-here@host/image:1"}),
        endpoint.event("Update", properties, physical_resource_id="old"),
        endpoint.event("Delete", properties, physical_resource_id="old"),
    ]

    log = run(events, authority.ca_file)

    statuses = [response.status for response in endpoint.responses]
    assert statuses == ["SUCCESS", "FAILED", "FAILED", "SUCCESS", "SUCCESS"]
    secrets = {"correct-horse", "wrong-battery", "typed-here", pair, "X-Amz-Signature"}
    secrets |= {entry.query for entry in source.storage_requests}
    secrets |= {entry.query for entry in endpoint.requests}
    assert all(secrets)
    assert [secret for secret in secrets if secret in log] == []
    responses = json.dumps([response.document for response in endpoint.responses])
    assert [secret for secret in secrets if secret in responses] == []


def test_every_log_line_has_the_stack_the_resource_and_the_request(
    registries: Callable[..., RegistryServer],
    cloudformation: Callable[..., CloudFormationEndpoint],
    authority: CertificateAuthority,
) -> None:
    source, destination = registries(), registries()
    push(build_image([build_layer(2**20, seed=1)]), source.host, "team/app", "1")
    endpoint = cloudformation()
    event = endpoint.event(
        "Create",
        {"SrcImage": f"{source.host}/team/app:1", "DestImage": f"{destination.host}/a/b:1"},
        logical_resource_id="TheImage",
    )

    lines = [json.loads(line) for line in run([event], authority.ca_file).splitlines()]

    assert {"started", "copying", "progress", "done"} <= {line["message"] for line in lines}
    for line in lines:
        assert line["stack_id"] == event["StackId"]
        assert line["logical_resource_id"] == "TheImage"
        assert line["request_id"] == event["RequestId"]
