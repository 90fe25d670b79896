"""Compute the cost and duration table of docs/mirrors.md.

Run it with other figures by editing them here. Prices are those of eu-west-1 in November 2026.
"""

from __future__ import annotations

from dataclasses import dataclass

TRANSITION_DOLLARS = 25e-6
GB_SECOND_DOLLARS = 13.3334e-6  # arm64
REQUEST_DOLLARS = 0.2e-6
PUT_DOLLARS = 5e-6
GET_DOLLARS = 0.4e-6
MEMORY_GB = 0.5
HEADS_PER_SECOND = 300
SECONDS_PER_IMAGE = 5
#: An index of two platforms and its two images.
MANIFESTS_PER_IMAGE = 3
ECR_MANIFESTS_PER_SECOND = 10
WORKERS_PER_HOST = 4


@dataclass(frozen=True)
class Run:
    """One run of a mirror: T, C, R, L and W of the page."""

    images: int
    changed: int
    repositories: int
    hosts: int
    loops: int = 0

    @property
    def changed_hosts(self) -> int:
        """Source hosts with changes; a run without changes enters none."""
        return self.hosts if self.changed else 0

    @property
    def transitions(self) -> int:
        """State transitions."""
        return 5 + 2 * self.changed_hosts + 3 * self.repositories + 3 * self.loops

    @property
    def invocations(self) -> int:
        """Invocations of the function: the start, the first and the last step, and workers."""
        return 3 + self.repositories + self.loops

    @property
    def puts(self) -> int:
        """PUTs and LISTs, which cost the same."""
        return 7 + self.changed_hosts + self.changed + self.repositories + self.loops

    @property
    def gets(self) -> int:
        """GETs, those of Step Functions included."""
        return 6 + self.changed_hosts + 2 * (self.repositories + self.loops)

    @property
    def lambda_seconds(self) -> float:
        """Seconds of the function."""
        return self.images / HEADS_PER_SECOND + self.changed * SECONDS_PER_IMAGE

    @property
    def dollars(self) -> float:
        """The price of Step Functions, Lambda and S3 together."""
        return (
            self.transitions * TRANSITION_DOLLARS
            + self.lambda_seconds * MEMORY_GB * GB_SECOND_DOLLARS
            + self.invocations * REQUEST_DOLLARS
            + self.puts * PUT_DOLLARS
            + self.gets * GET_DOLLARS
        )

    @property
    def minutes(self) -> float:
        """The duration: choosing, then the slower of the workers and ECR's PutImage."""
        workers = min(WORKERS_PER_HOST * self.hosts, max(1, self.repositories))
        copying = self.changed * SECONDS_PER_IMAGE / workers
        pushing = self.changed * MANIFESTS_PER_IMAGE / ECR_MANIFESTS_PER_SECOND
        return (self.images / HEADS_PER_SECOND + max(copying, pushing)) / 60


RUNS = (
    Run(images=10, changed=0, repositories=0, hosts=1),
    Run(images=10, changed=10, repositories=5, hosts=1),
    Run(images=1000, changed=0, repositories=0, hosts=3),
    Run(images=1000, changed=1000, repositories=50, hosts=3),
    Run(images=10_000, changed=0, repositories=0, hosts=3),
    Run(images=10_000, changed=10_000, repositories=500, hosts=3),
)
COLUMNS = (
    "Images",
    "Changed",
    "Repositories",
    "Hosts",
    "Transitions",
    "Lambda seconds",
    "Dollars",
    "Minutes",
)


def table() -> str:
    """Render the table."""
    lines = [
        f"| {' | '.join(COLUMNS)} |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {run.images:,} | {run.changed:,} | {run.repositories:,} | {run.hosts} | "
        f"{run.transitions:,} | {run.lambda_seconds:,.0f} | {run.dollars:.4f} "
        f"| {run.minutes:,.1f} |"
        for run in RUNS
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
