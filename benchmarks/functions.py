"""Functions in the runtime interface emulator: this project's and cdk-ecr-deployment's."""

from __future__ import annotations

import time
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from local.emulator import LambdaEmulator

from benchmarks import artifact, quota, versions
from benchmarks.programs import CopyError, no_blob_cache
from benchmarks.usage import Usage, cpu_seconds, peak_bytes, reset_peak

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from local.cloudformation import CloudFormationEndpoint

    from benchmarks.programs import Job

OURS_WARM: Final = "ours, warm"
OURS_NEW: Final = "ours, new process"
#: The other custom resource's program, which `make bench` downloads.
PEER: Final = Path(__file__).parent / ".peers" / "bootstrap"
_INVOCATION_SECONDS: Final = 600
_LOG_TAIL_CHARACTERS: Final = 2000


class Function:
    """A function in the runtime interface emulator that responds to CloudFormation.

    Parameters
    ----------
    name
        The name in the tables.
    runtime, handler
        The command of the runtime and the handler's name.
    directory
        The function's working directory.
    environment
        Environment variables of the function.
    whole_index
        The property for copying all platforms.
    endpoint
        Receives the responses.
    warm
        Whether one process makes all copies, instead of a new one for each.
    """

    def __init__(
        self,
        name: str,
        runtime: tuple[str, ...],
        handler: str,
        *,
        directory: Path,
        environment: Mapping[str, str],
        whole_index: Mapping[str, str],
        endpoint: CloudFormationEndpoint,
        warm: bool,
    ) -> None:
        self.name = name
        self._runtime = runtime
        self._handler = handler
        self._directory = directory
        self._environment = environment
        self._whole_index = whole_index
        self._endpoint = endpoint
        self._warm = warm
        self._emulator: LambdaEmulator | None = None

    def warm_up(self, job: Job) -> None:
        """Start the process of a warm function."""
        if self._warm:
            self.copy(job)

    def copy(self, job: Job) -> Usage:
        """Invoke the function, in the warm process or in a new one."""
        properties = {"SrcImage": job.source_image, "DestImage": job.destination_image}
        if job.image.shape.children > 1:
            properties |= self._whole_index
        return self.replicate(properties)

    def replicate(self, properties: Mapping[str, str]) -> Usage:
        """Invoke the function with these resource properties."""
        emulator = self._emulator or self._start()
        is_new = self._emulator is None
        try:
            event = self._endpoint.event("Create", properties)
            usage = self._measure(emulator, event, is_new=is_new)
        except BaseException:
            # a failed process can be broken: the next copy starts another one
            self._emulator = None
            emulator.__exit__()
            raise
        if self._warm:
            self._emulator = emulator
        else:
            emulator.__exit__()
        return usage

    def close(self) -> None:
        """Stop the process of a warm function."""
        if self._emulator is not None:
            self._emulator.__exit__()
            self._emulator = None

    def _start(self) -> LambdaEmulator:
        """Start the emulator. The first event starts the function's process."""
        return LambdaEmulator(
            self._directory,
            handler=self._handler,
            runtime=self._runtime,
            environment=self._environment,
            timeout_seconds=_INVOCATION_SECONDS,
            memory_megabytes=quota.MEMORY_MEGABYTES,
        ).__enter__()

    def _measure(
        self, emulator: LambdaEmulator, event: Mapping[str, Any], *, is_new: bool
    ) -> Usage:
        before = 0.0
        if not is_new:
            reset_peak(emulator.pid)
            before = cpu_seconds(emulator.pid)
        began_at = time.perf_counter()
        emulator.invoke(event)
        wall_seconds = time.perf_counter() - began_at
        pid = emulator.pid
        response = self._endpoint.wait_for_response(event["RequestId"])
        if response.document["Status"] != "SUCCESS":
            reason = response.document.get("Reason")
            message = f"{self.name}: {reason}\n{emulator.log[-_LOG_TAIL_CHARACTERS:]}"
            raise CopyError(message)
        return Usage(wall_seconds, cpu_seconds(pid) - before, peak_bytes(pid))


def our_function(
    endpoint: CloudFormationEndpoint,
    ca_file: Path,
    *,
    warm: bool,
    handler: str = artifact.HANDLER,
    environment: Mapping[str, str] = MappingProxyType({}),
    command: tuple[str, ...] = (),
) -> Function:
    """Return this project's function as built, configured as in the template.

    Parameters
    ----------
    environment
        Additional environment variables.
    command
        The prefix of the runtime's command, such as `CpuQuota.command`.
    """
    return Function(
        OURS_WARM if warm else OURS_NEW,
        (*command, *artifact.RUNTIME),
        handler,
        directory=artifact.FUNCTION,
        environment={
            **artifact.environment(handler),
            "SSL_CERT_FILE": str(ca_file),
            "RESPONSE_HOSTS": "localhost",
            **environment,
        },
        whole_index={"Platforms": "all"},
        endpoint=endpoint,
        warm=warm,
    )


def cdk_ecr_deployment(
    endpoint: CloudFormationEndpoint,
    ca_file: Path,
    directory: Path,
    *,
    warm: bool,
    environment: Mapping[str, str] = MappingProxyType({}),
    command: tuple[str, ...] = (),
) -> Function:
    """Return the other custom resource's function, a Go program with skopeo's libraries."""
    insecure = directory / "registries.conf"
    return Function(
        f"{versions.cdk_ecr_deployment()}, " + ("warm" if warm else "new process"),
        (*command, str(PEER)),
        "bootstrap",
        directory=PEER.parent,
        environment={
            "SSL_CERT_FILE": str(ca_file),
            "CONTAINERS_REGISTRIES_CONF": str(insecure),
            **no_blob_cache(directory),
            **environment,
        },
        whole_index={"CopyImageIndex": "true"},
        endpoint=endpoint,
        warm=warm,
    )


def write_insecure_registries(directory: Path, hosts: Iterable[str]) -> None:
    """Configure the plain HTTP hosts for the `cdk_ecr_deployment` in that directory."""
    entries = [f'[[registry]]\nlocation = "{host}"\ninsecure = true\n' for host in hosts]
    (directory / "registries.conf").write_text("".join(entries))
