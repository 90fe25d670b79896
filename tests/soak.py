"""Run tests repeatedly under load, to find those whose result depends on time or order.

    make soak RUNS=20 SEED=1 TESTS="tests/unit tests/functional"

Each run has its own conditions: busy processors, one processor, a nice value, the interpreter's
switch interval, development mode, parallel processes, random test order and new Hypothesis
examples. The seed determines all of them. With ``PARALLEL=4``, runs are each other's load, and no
processor is kept busy otherwise. The program prints each failure with the command that
repeats it, and keeps the log of that run.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

_FOLDERS = ("tests/unit", "tests/local", "tests/documents", "tests/functional", "tests/faults")
_BUSY = "while True: pass"
#: More than the whole suite takes with a nice value beside other runs; the suite itself ends a test
#: that hangs.
_LONGEST_RUN_SECONDS = 4 * 3600


@dataclass(frozen=True)
class Conditions:
    """The conditions of one run: load, processors, switch interval, order."""

    seed: int
    busy_processes: int
    one_processor: bool
    nice: int
    switch_interval_seconds: float
    development_mode: bool
    workers: int

    @classmethod
    def choose(cls, seed: int) -> Conditions:
        """Derive the conditions from a seed."""
        chosen = random.Random(seed)
        processors = os.cpu_count() or 1
        return cls(
            seed=seed,
            busy_processes=chosen.choice((0, processors, 2 * processors)),
            one_processor=chosen.random() < 1 / 3,
            nice=chosen.choice((0, 10)),
            switch_interval_seconds=chosen.choice((10e-6, 5e-3, 50e-3)),
            development_mode=chosen.random() < 1 / 2,
            workers=chosen.choice((1, 4)),
        )

    def command(self, tests: Sequence[str]) -> list[str]:
        """Return the pytest command of this run."""
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "--dist",
            "loadfile",
            "--max-worker-restart=0",
        ]
        command += ["-n", str(self.workers), "--random-order", str(self.seed)]
        command += ["--switch-interval", str(self.switch_interval_seconds)]
        command += ["--hypothesis-seed", str(self.seed), "-p", "no:cacheprovider"]
        return [*command, *tests]

    def environment(self) -> dict[str, str]:
        """Return the environment variables that this run adds."""
        added = {"HYPOTHESIS_PROFILE": "random"}
        if self.development_mode:
            added["PYTHONDEVMODE"] = "1"
        return added

    def apply(self) -> None:
        """Set the nice value and the processors. Runs in the new process, before pytest starts."""
        os.nice(self.nice)
        if self.one_processor:
            processors = sorted(os.sched_getaffinity(0))
            # parallel runs share out the processors
            os.sched_setaffinity(0, {processors[self.seed % len(processors)]})


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """Keep that many processors busy."""
    processes = [subprocess.Popen([sys.executable, "-c", _BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def run_once(conditions: Conditions, tests: Sequence[str], log: Path) -> list[str]:
    """Run the tests once and return the failures."""
    with log.open("w") as output, busy(conditions.busy_processes):
        try:
            status = subprocess.run(
                conditions.command(tests),
                env={**os.environ, **conditions.environment()},
                preexec_fn=conditions.apply,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=_LONGEST_RUN_SECONDS,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            return [f"the run took more than {_LONGEST_RUN_SECONDS} s"]
    lines = log.read_text(errors="replace").splitlines()
    failures = [line for line in lines if line.startswith(("FAILED tests/", "ERROR tests/"))]
    if status and not failures:
        failures = [f"pytest ended with status {status}", *lines[-5:]]
    return failures


def main() -> None:
    """Run the tests, print every failure, and exit with 1 if there was one."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--parallel", type=int, default=1, help="runs at the same time")
    parser.add_argument("tests", nargs="*", default=list(_FOLDERS))
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="soak-"))

    def run(seed: int) -> bool:
        conditions = Conditions.choose(seed)
        if options.parallel > 1:
            conditions = replace(conditions, busy_processes=0)
        return run_and_report(conditions, options.tests, directory / f"{seed}.log")

    with ThreadPoolExecutor(options.parallel) as pool:
        passed = list(pool.map(run, range(options.seed, options.seed + options.runs)))
    print(f"{options.runs} runs, {passed.count(False)} of them with failures")
    sys.exit(not all(passed))


def run_and_report(conditions: Conditions, tests: Sequence[str], log: Path) -> bool:
    """Run the tests once, print the failures, and return whether there was none."""
    started = time.monotonic()
    failures = run_once(conditions, tests, log)
    lines = [str(conditions), *(f"  {each}" for each in failures)]
    if failures:
        # make sets the paths that the tests need
        again = ["make", "soak", "RUNS=1", f"SEED={conditions.seed}"]
        if list(tests) != list(_FOLDERS):
            again.append(f"TESTS={' '.join(tests)}")
        lines += [f"  log: {log}", f"  repeat: {shlex.join(again)}"]
    else:
        log.unlink()
    lines.append(f"  {len(failures)} failures in {time.monotonic() - started:.0f} s")
    print("\n".join(lines), flush=True)
    return not failures


if __name__ == "__main__":
    main()
