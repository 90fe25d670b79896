"""`python -m local`: registries, AWS and CloudFormation's end point on loopback, till Ctrl-C."""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import signal
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from local.aws import LoopbackAws
from local.certificates import CertificateAuthority
from local.cloudformation import CloudFormationEndpoint
from local.images import Content, build_image, build_index, build_layer, push
from local.registry import RegistryServer

_MEBIBYTE = 1024 * 1024


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted; return 1 when a port is taken."""
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    parser.add_argument("--source-port", type=int, default=5001, metavar="PORT")
    parser.add_argument("--destination-port", type=int, default=5002, metavar="PORT")
    parser.add_argument("--cloudformation-port", type=int, default=5003, metavar="PORT")
    parser.add_argument("--proxy-port", type=int, default=5004, metavar="PORT")
    parser.add_argument(
        "--directory", type=Path, help="for the CA's file; a temporary one if absent"
    )
    options = parser.parse_args(arguments)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stopped.set())
    with contextlib.ExitStack() as opened:
        directory = options.directory or Path(
            opened.enter_context(tempfile.TemporaryDirectory(prefix="loopback-cloud-"))
        )
        directory.mkdir(parents=True, exist_ok=True)
        authority = CertificateAuthority(directory)
        try:
            source = opened.enter_context(RegistryServer(options.source_port))
            destination = opened.enter_context(RegistryServer(options.destination_port))
            endpoint = opened.enter_context(
                CloudFormationEndpoint(authority.server_context(), port=options.cloudformation_port)
            )
            aws = opened.enter_context(LoopbackAws(authority=authority, port=options.proxy_port))
        except OSError as error:
            sys.stderr.write(f"python -m local: {error}\n")
            return 1
        push_demo_images(source.host)
        put_demo_images(aws)
        sys.stdout.write(_description(source.port, destination.port, endpoint, aws))
        sys.stdout.flush()
        _report_answers(endpoint, stopped)
    return 0


def push_demo_images(host: str) -> None:
    """Push `demo/app:1.0` (an index of three platforms) and `demo/single:1.0` to a registry."""
    app, single = _demo_images()
    push(app, host, "demo/app", "1.0")
    push(single, host, "demo/single", "1.0")


def put_demo_images(aws: LoopbackAws) -> None:
    """Put the same into Docker Hub as `library/demo` and `demo/single`; make an ECR repository."""
    app, single = _demo_images()
    aws.docker_hub.put(app, "library/demo", "1.0")
    aws.docker_hub.put(single, "demo/single", "1.0")
    aws.ecr().create_repository("demo/app", imageTagMutability="IMMUTABLE")


@functools.cache
def _demo_images() -> tuple[Content, Content]:
    shared = build_layer(4 * _MEBIBYTE, seed=1)
    app = build_index(
        [
            build_image([shared, build_layer(3 * _MEBIBYTE, seed=number)], platform)
            for number, platform in enumerate(
                ("linux/amd64", "linux/arm64/v8", "linux/arm/v7"), start=2
            )
        ],
        annotations={"org.opencontainers.image.title": "demo/app"},
    )
    return app, build_image([build_layer(2 * _MEBIBYTE, seed=9)], format="docker")


def _description(
    source_port: int, destination_port: int, endpoint: CloudFormationEndpoint, aws: LoopbackAws
) -> str:
    example = endpoint.event(
        "Create",
        {
            "SrcImage": f"docker://localhost:{source_port}/demo/app:1.0",
            "DestImage": f"docker://localhost:{destination_port}/demo/app:1.0",
            "Platforms": "all",
        },
    )
    exports = "\n".join(f"  export {name}={value}" for name, value in aws.environment.items())
    return f"""\
source registry       http://localhost:{source_port}   demo/app:1.0 (an index), demo/single:1.0
destination registry  http://localhost:{destination_port}   empty
CloudFormation        {endpoint.url}
Docker Hub            docker.io/library/demo:1.0, docker.io/demo/single:1.0
Amazon ECR            {aws.ecr().host}/demo/app   empty, its tags immutable

The last two are reached by their real names through a proxy. For the function's environment:

{exports}

An event that copies demo/app:1.0:

{json.dumps(example, indent=2)}

Answers are printed as they come; Ctrl-C ends it.
"""


def _report_answers(endpoint: CloudFormationEndpoint, stopped: threading.Event) -> None:
    reported = 0
    while not stopped.wait(0.2):
        for answer in endpoint.answers[reported:]:
            reported += 1
            document = json.dumps(answer.document, indent=2)
            sys.stdout.write(f"\nanswer to {answer.request_id}: {document}\n")
            for violation in answer.violations:
                sys.stdout.write(f"  CloudFormation would refuse it: {violation}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
