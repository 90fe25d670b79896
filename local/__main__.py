"""`python -m local`: registries, AWS and a CloudFormation endpoint on loopback, until Ctrl-C."""

from __future__ import annotations

import argparse
import json
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from local import stop_signals
from local.cloud import (
    ARCHIVE_BUCKET,
    ARCHIVE_KEY,
    CLOUDFORMATION_PORT,
    DESTINATION_PORT,
    PROXY_PORT,
    SOURCE_PORT,
    LocalCloud,
    PortInUseError,
    Ports,
)
from local.cloudformation import CloudFormationEndpoint

DIRECTORY = Path(".cloud")


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted; return 1 when a port is in use."""
    options = _parser().parse_args(arguments)
    stop_signals.block()
    ports = Ports(
        options.source_port,
        options.destination_port,
        options.cloudformation_port,
        options.proxy_port,
    )
    try:
        with LocalCloud(options.directory, ports) as cloud:
            sys.stdout.write(_description(cloud))
            sys.stdout.flush()
            with _reported_responses(cloud.cloudformation):
                stop_signals.wait()
    except PortInUseError as error:
        sys.stderr.write(f'error: {error} With make: make cloud ARGS="--source-port 6001"\n')
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    for name, port in (
        ("source", SOURCE_PORT),
        ("destination", DESTINATION_PORT),
        ("cloudformation", CLOUDFORMATION_PORT),
        ("proxy", PROXY_PORT),
    ):
        parser.add_argument(
            f"--{name}-port",
            type=int,
            default=port,
            metavar="PORT",
            help=f"default {port}; 0 lets the system choose",
        )
    parser.add_argument(
        "--directory",
        type=Path,
        default=DIRECTORY,
        help="for the CA certificate and the environment file; default .cloud",
    )
    return parser


def _description(cloud: LocalCloud) -> str:
    file = cloud.environment_file
    return f"""\
The local cloud is running. Press Ctrl-C to stop it.

source registry        http://{cloud.source.host}   demo/app:1.0 (index with SBOM), demo/single:1.0
destination registry   http://{cloud.destination.host}   empty
CloudFormation         {cloud.cloudformation.url}
S3                     s3://{ARCHIVE_BUCKET}/{ARCHIVE_KEY}   a docker save archive
Docker Hub             docker.io/library/demo:1.0, docker.io/demo/single:1.0
Amazon ECR             {cloud.aws.ecr().host}/demo/app   empty, immutable tags

Send an event to the function (in another terminal):
  make invoke EVENT=events/create-whole-index.json

Docker Hub, ECR and S3 are reached by their real names through a proxy. To use them from a shell:
  (set -a; . {file}; aws s3 ls s3://{ARCHIVE_BUCKET})

Responses that a function sends to the CloudFormation endpoint are printed here.
"""


@contextmanager
def _reported_responses(endpoint: CloudFormationEndpoint) -> Iterator[None]:
    """Print the responses as they arrive, in a thread."""
    ended = threading.Event()
    reporter = threading.Thread(target=_report_responses, args=(endpoint, ended))
    reporter.start()
    try:
        yield
    finally:
        ended.set()
        reporter.join()


def _report_responses(endpoint: CloudFormationEndpoint, ended: threading.Event) -> None:
    reported = 0
    while not ended.wait(0.2):
        for response in endpoint.responses[reported:]:
            reported += 1
            document = json.dumps(response.document, indent=2)
            sys.stdout.write(f"\nresponse to {response.request_id}: {document}\n")
            for violation in response.violations:
                sys.stdout.write(f"  CloudFormation would reject it: {violation}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
