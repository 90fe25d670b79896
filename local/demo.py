"""`make demo`: the main job from one end to the other, on a cloud that lives for half a minute.

An image of some megabytes is put into a loopback registry; the Lambda handler is given an event
of `events/`, as CloudFormation would send it; the answer arrives at an HTTPS endpoint that stands
in for CloudFormation; the destination is asked what it serves. Then the same event again.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from local.certificates import CertificateAuthority
from local.cloudformation import CloudFormationEndpoint
from local.images import build_image, build_index, build_layer, push
from local.registry import RegistryServer

_EVENT = Path(__file__).parent.parent / "events" / "create-whole-index.json"
_LAYER_BYTES = 8 * 1024 * 1024
_REMAINING_SECONDS = 60.0


class _Context:
    """What Lambda tells a handler of its invocation."""

    function_name = "ecr-image-replicator"
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:ecr-image-replicator"
    memory_limit_in_mb = 512
    log_stream_name = "demo"

    def __init__(self) -> None:
        self.aws_request_id = str(uuid.uuid4())
        self._until = time.monotonic() + _REMAINING_SECONDS

    def get_remaining_time_in_millis(self) -> int:
        return int((self._until - time.monotonic()) * 1000)


def main() -> int:
    """Run the demo; 0 when every claim that it prints was seen to hold."""
    with _cloud() as (source, destination, endpoint):
        event = json.loads(_EVENT.read_text())
        properties = _relocated(event["ResourceProperties"], source, destination)
        _say("A registry, an empty one, and an end point that takes CloudFormation's answers.")
        digest = _push_image(source)
        _say(f"In the first: an index of two platforms, {digest}.")

        _say("\nCloudFormation asks for it (events/create-whole-index.json):\n")
        first = _invoke(endpoint, properties)
        served = _served_digest(destination, properties["DestImage"])
        _say(f"\nThe destination serves {served}.")

        source.clear_requests()
        destination.clear_requests()
        _say("\nThe same once more, as when a stack is deployed again:\n")
        second = _invoke(endpoint, properties)
        asked = len(source.requests), len(destination.requests)
        _say(f"\nRequests: {asked[0]} to the source, {asked[1]} to the destination.")
        claims = {
            "the first answer is SUCCESS": first["Status"] == "SUCCESS",
            "the destination serves the source's digest": served == digest,
            "the answer names it": first.get("Data", {}).get("ImageDigest") == digest,
            "the second time nothing moved": second.get("Data", {}).get("Changed") == "false",
            "one request a side told so": asked == (1, 1),
            "CloudFormation would take both answers": not endpoint.violations,
        }
    for claim, holds in claims.items():
        _say(f"  {'ok' if holds else 'NOT TRUE'}: {claim}")
    return 0 if all(claims.values()) else 1


@contextlib.contextmanager
def _cloud() -> Iterator[tuple[RegistryServer, RegistryServer, CloudFormationEndpoint]]:
    with contextlib.ExitStack() as opened:
        directory = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="demo-")))
        authority = CertificateAuthority(directory)
        os.environ["SSL_CERT_FILE"] = str(authority.ca_file)
        os.environ["PROGRESS_INTERVAL_SECONDS"] = "0.05"
        yield (
            opened.enter_context(RegistryServer()),
            opened.enter_context(RegistryServer()),
            opened.enter_context(CloudFormationEndpoint(authority.server_context())),
        )


def _relocated(
    properties: Mapping[str, Any], source: RegistryServer, destination: RegistryServer
) -> dict[str, Any]:
    """Put free ports in the place of those that `make cloud` listens on."""
    text = json.dumps(properties)
    text = text.replace("localhost:5001", source.host).replace("localhost:5002", destination.host)
    relocated: dict[str, Any] = json.loads(text)
    return relocated


def _push_image(registry: RegistryServer) -> str:
    shared = build_layer(_LAYER_BYTES, seed=1)
    images = [
        build_image([shared, build_layer(_LAYER_BYTES, seed=seed)], platform)
        for seed, platform in enumerate(("linux/amd64", "linux/arm64"), start=2)
    ]
    return str(push(build_index(images), registry.host, "demo/app", "1.0"))


def _invoke(endpoint: CloudFormationEndpoint, properties: Mapping[str, Any]) -> dict[str, Any]:
    """Run the handler on an event, and give the answer as CloudFormation received it."""
    from app import lambda_handler  # noqa: PLC0415 - reads the environment that _cloud has set

    event = endpoint.event("Create", properties)
    lambda_handler(event, _Context())  # type: ignore[arg-type]
    answer = dict(endpoint.wait_for_answer(event["RequestId"]).document)
    _say(f"\nThe answer: {json.dumps(answer, indent=2)}")
    return answer


def _served_digest(registry: RegistryServer, image: str) -> str:
    """Ask a registry by plain HTTP which digest it serves under an image's tag."""
    repository, _, tag = image.removeprefix("docker://").partition("/")[2].rpartition(":")
    connection = http.client.HTTPConnection(registry.host)
    try:
        connection.request("HEAD", f"/v2/{repository}/manifests/{tag}")
        return connection.getresponse().getheader("Docker-Content-Digest", "nothing")
    finally:
        connection.close()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
