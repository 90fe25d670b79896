"""`make demo`: replicate an image end to end on a local cloud, then again.

The demo pushes an image to a loopback registry, gives the Lambda handler an event of `events/` as
CloudFormation sends it, receives the response at an HTTPS endpoint, and reads the destination. It
then sends the same event again. `--logs` shows the function's log lines.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import io
import json
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from local.certificates import CertificateAuthority
from local.cloudformation import CloudFormationEndpoint
from local.images import build_image, build_index, build_layer, push
from local.registry import RegistryServer

_EVENT = Path(__file__).parent.parent / "events" / "create-whole-index.json"
_LAYER_BYTES = 8 * 1024 * 1024
_REMAINING_SECONDS = 60.0
_Cloud = tuple[RegistryServer, RegistryServer, CloudFormationEndpoint]


class _Context:
    """The context object that Lambda passes to a handler."""

    function_name = "ecr-image-replicator"
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:ecr-image-replicator"
    memory_limit_in_mb = 512
    log_stream_name = "demo"

    def __init__(self) -> None:
        self.aws_request_id = str(uuid.uuid4())
        self._until = time.monotonic() + _REMAINING_SECONDS

    def get_remaining_time_in_millis(self) -> int:
        return int((self._until - time.monotonic()) * 1000)


def main(arguments: Sequence[str] = ()) -> int:
    """Run the demo and return 0 if every printed claim is true."""
    parser = argparse.ArgumentParser(prog="python -m local.demo", description=__doc__)
    parser.add_argument("--logs", action="store_true", help="show the function's log lines")
    shows_logs = parser.parse_args(arguments).logs
    with _cloud() as (source, destination, endpoint):
        event = json.loads(_EVENT.read_text())
        properties = _relocated(event["ResourceProperties"], source, destination)
        digest = _push_image(source)
        _say(
            f"A stack requests this image ({_EVENT.parent.name}/{_EVENT.name}):\n"
            f"  SrcImage   {properties['SrcImage']}   index, linux/amd64 and linux/arm64\n"
            f"  DestImage  {properties['DestImage']}   (an empty registry)\n"
        )
        first = _invoke(endpoint, properties, shows_logs=shows_logs)
        served = _served_digest(destination, properties["DestImage"])
        _say(
            f"First deployment: {_outcome(first)}\n"
            f"  ImageUri   {first.get('Data', {}).get('ImageUri', first.get('Reason', ''))}\n"
        )
        source.clear_requests()
        destination.clear_requests()
        second = _invoke(endpoint, properties, shows_logs=shows_logs)
        requests = len(source.requests), len(destination.requests)
        _say(
            f"Second deployment: {_outcome(second)}\n"
            f"  Requests   {requests[0]} to the source, {requests[1]} to the destination\n"
        )
        claims = {
            "CloudFormation received SUCCESS": first["Status"] == "SUCCESS",
            "the destination's tag has the source's digest": served == digest,
            "the response has that digest": first.get("Data", {}).get("ImageDigest") == digest,
            "the second time nothing was copied": second.get("Data", {}).get("Changed") == "false",
            "the second time one request per registry was sent": requests == (1, 1),
            "CloudFormation accepts both responses": not endpoint.violations,
        }
    for claim, holds in claims.items():
        _say(f"  {'ok' if holds else 'NOT TRUE'}: {claim}")
    return 0 if all(claims.values()) else 1


def _outcome(response: Mapping[str, Any]) -> str:
    values = response.get("Data", {})
    if values.get("Changed") != "true":
        return f"{response['Status']}, nothing to copy"
    mebibytes = int(values["BytesCopied"]) / 1024 / 1024
    return (
        f"{response['Status']}, {values['BlobsCopied']} blobs copied ({mebibytes:.1f} MiB) "
        f"in {float(values['DurationSeconds']):.2f} s"
    )


@contextlib.contextmanager
def _cloud() -> Iterator[_Cloud]:
    with contextlib.ExitStack() as opened:
        directory = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="demo-")))
        authority = CertificateAuthority(directory)
        source = opened.enter_context(RegistryServer())
        destination = opened.enter_context(RegistryServer())
        endpoint = opened.enter_context(CloudFormationEndpoint(authority.server_context()))
        os.environ["SSL_CERT_FILE"] = str(authority.ca_file)
        os.environ["RESPONSE_HOSTS"] = endpoint.host
        os.environ["PROGRESS_INTERVAL_SECONDS"] = "0.05"
        yield source, destination, endpoint


def _relocated(
    properties: Mapping[str, Any], source: RegistryServer, destination: RegistryServer
) -> dict[str, Any]:
    """Replace the ports of `make cloud` with those of this demo."""
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


def _invoke(
    endpoint: CloudFormationEndpoint, properties: Mapping[str, Any], *, shows_logs: bool
) -> dict[str, Any]:
    """Run the handler on an event, and return the response as CloudFormation received it."""
    log = contextlib.nullcontext() if shows_logs else contextlib.redirect_stdout(io.StringIO())
    with log:
        from app import lambda_handler  # noqa: PLC0415 - reads the environment that _cloud sets

        event = endpoint.event("Create", properties)
        lambda_handler(event, _Context())  # type: ignore[arg-type]
    return dict(endpoint.wait_for_response(event["RequestId"]).document)


def _served_digest(registry: RegistryServer, image: str) -> str:
    """Return the digest of an image's tag, read over plain HTTP."""
    repository, _, tag = image.removeprefix("docker://").partition("/")[2].rpartition(":")
    connection = http.client.HTTPConnection(registry.host)
    try:
        connection.request("HEAD", f"/v2/{repository}/manifests/{tag}")
        return connection.getresponse().getheader("Docker-Content-Digest", "nothing")
    finally:
        connection.close()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
