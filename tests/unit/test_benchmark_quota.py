from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.quota import (
    SHARE,
    CpuQuota,
    Hierarchy,
    QuotaError,
    QuotaUnavailableError,
    find_hierarchy,
)

_FIRST = "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,nosuid,cpu,cpuacct 0 0\n"
_SECOND = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n"
_OTHERS = "proc /proc proc rw 0 0\ncgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset 0 0\n"


def test_the_cpu_share_equals_that_of_512_megabytes() -> None:
    assert SHARE == 0.29


@pytest.mark.parametrize(
    ("mounts", "expected"),
    [
        (_OTHERS + _FIRST + _SECOND, Hierarchy(1, Path("/sys/fs/cgroup/cpu,cpuacct"))),
        (_OTHERS + _SECOND, Hierarchy(2, Path("/sys/fs/cgroup"))),
    ],
)
def test_the_hierarchy_with_the_cpu_controller_is_found(mounts: str, expected: Hierarchy) -> None:
    assert find_hierarchy(mounts) == expected


def test_missing_control_groups_are_an_error() -> None:
    with pytest.raises(QuotaUnavailableError, match="no control groups"):
        find_hierarchy(_OTHERS)


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (1, {"cpu.cfs_period_us": "20000", "cpu.cfs_quota_us": "5800"}),
        (2, {"cpu.max": "5800 20000"}),
    ],
)
def test_a_cpu_limit_is_written_as_quota_and_period(version: int, expected: dict[str, str]) -> None:
    assert Hierarchy(version, Path()).settings(0.29) == expected


def test_a_group_that_cannot_be_created_is_reported(tmp_path: Path) -> None:
    with (
        pytest.raises(QuotaUnavailableError, match="No such file or directory"),
        CpuQuota(hierarchy=Hierarchy(1, tmp_path / "nowhere")),
    ):
        pass


@pytest.mark.parametrize("version", [1, 2])
def test_a_group_is_limited_and_then_removed(version: int, tmp_path: Path) -> None:
    hierarchy = Hierarchy(version, tmp_path)
    with CpuQuota(0.5, hierarchy):
        (group,) = (each for each in tmp_path.iterdir() if each.is_dir())
        written = {file.name: file.read_text() for file in group.iterdir()}
        assert written == hierarchy.settings(0.5)
        if version == 2:
            # groups have only the controllers that their parent delegates
            assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu"
        _remove_files(group)
    assert not group.exists()


@pytest.mark.parametrize("statistics", ["", "nr_periods 8\nnr_throttled 0\nthrottled_time 0\n"])
def test_a_limit_that_never_throttled_is_an_error(statistics: str, tmp_path: Path) -> None:
    with CpuQuota(hierarchy=Hierarchy(1, tmp_path)) as quota:
        (group,) = tmp_path.iterdir()
        (group / "cpu.stat").write_text(statistics)
        with pytest.raises(QuotaError, match=r"0\.29 cores"):
            quota.check()
        (group / "cpu.stat").write_text("nr_periods 8\nnr_throttled 3\n")
        quota.check()
        assert quota.command[-2].startswith(f"echo $$ > '{group}/cgroup.procs'")
        _remove_files(group)
    assert not group.exists()


def _remove_files(group: Path) -> None:
    """Remove the files that the kernel removes together with a group."""
    for file in group.iterdir():
        file.unlink()
