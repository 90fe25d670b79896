from __future__ import annotations

from pathlib import Path

from benchmarks import archive, coldstart, mirror, rows
from benchmarks.__main__ import sections
from benchmarks.archive import Figures
from benchmarks.archive_files import CASES, CHANGED, COMPRESSED, NOISE, THERE, Archives, Case
from benchmarks.coldstart import BOTO3, Start
from benchmarks.functions import OURS_NEW, OURS_WARM
from benchmarks.mirror import Run
from benchmarks.programs import CommandLine
from benchmarks.registries import Access
from benchmarks.tables import is_peer
from benchmarks.usage import Usage

MEBIBYTE = 1024 * 1024


def goal_statuses(lines: object) -> dict[str, str]:
    assert not isinstance(lines, str)
    return {line[0]: line[-1] for line in lines}  # type: ignore[attr-defined]


def test_a_full_run_has_more_sections_than_a_quick_one() -> None:
    assert set(sections(rows.quick())) < set(sections(rows.full()))


def start(case: str, program: str, cpu_seconds: float) -> Start:
    return Start.of(case, program, [Usage(1.0, cpu_seconds, MEBIBYTE)])


def test_start_goals_compare_runs_with_an_existing_image() -> None:
    starts = [
        start("", BOTO3, 0.1),
        start("there", OURS_NEW, 0.25),
        start("there", OURS_WARM, 0.01),
        start("missing", OURS_NEW, 9.0),
    ]
    assert list(goal_statuses(coldstart.goal_lines(starts)).values()) == ["reached", "missed"]
    assert "| there | ours, new process | 1.00 (1.00-1.00) | 0.250 (0.250-0.250) | 2.50 | 1 |" in (
        coldstart.table("any", starts)
    )


def run(program: str, state: str, wall_seconds: float, requests: int, peak: int = 1) -> Run:
    usage = Usage(wall_seconds, wall_seconds / 10, peak * MEBIBYTE)
    return Run(program, state, usage, requests, 0, requests)


OURS, SKOPEO = CommandLine.name, "skopeo 1.0"
RUNS = [
    run(OURS, "from empty", 9.0, 40),
    run(SKOPEO, "from empty", 100.0, 100),
    run(OURS, "from empty", 8.0, 39, peak=3),
    run(OURS, "from empty", 12.0, 41),
    run(OURS, "unchanged", 2.0, 9),
    run(SKOPEO, "unchanged", 30.0, 18),
]


def test_mirror_figures_are_medians_and_the_highest_peak() -> None:
    empty, *_ = mirror.medians(RUNS)
    assert empty.usage == Usage(9.0, 0.9, 3 * MEBIBYTE)
    assert empty.destination_requests == 40


def test_mirror_goals_are_reached_or_missed() -> None:
    one_image = Usage(1.0, 0.1, 2 * MEBIBYTE)
    assert goal_statuses(mirror.goal_lines(RUNS, one_image, 6)) == {
        "mirror, from empty, wall s": "reached",
        "mirror, from empty, requests at the destination": "reached",
        "mirror, unchanged, wall s": "missed",
        "mirror, unchanged, requests at the source": "reached",
        "mirror, unchanged, pulls": "reached",
        "mirror, peak MiB; beside a copy of one image": "missed",
    }
    lines = mirror.table("any", RUNS, one_image).splitlines()
    assert lines[-1].startswith("| ours, command line, copy of one image | 1.00 | 0.100 | 2 |")
    assert len(lines) == 4 + 4 + 1


def test_manifest_gets_count_as_pulls() -> None:
    accesses = [
        Access("GET", "/v2/a/manifests/1", 200, 5),
        Access("HEAD", "/v2/a/manifests/1", 200, 0),
        Access("GET", "/v2/a/blobs/sha256:00", 200, 5),
    ]
    assert mirror.count_pulls(accesses) == 1


def measured(ours: Figures, peer: Figures) -> dict[str, Figures]:
    return {OURS_WARM: ours, "skopeo 1.0": peer}


def test_each_case_uses_the_archive_of_its_content_and_format() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    assert Case("Docker 24", THERE).file == Case("Docker 24", "missing").file
    assert Case("Docker 24", CHANGED).file != Case("Docker 24", THERE).file
    assert Archives(Path("a"), 1).path(Case(COMPRESSED, NOISE)) == Path(
        "a/random-Docker-25-gzip.tar"
    )


def test_an_update_reads_little_more_than_the_changed_layer() -> None:
    peer = Figures(1.0, 1.0, 1, 600)
    for other_bytes, status in ((MEBIBYTE // 4, "reached"), (MEBIBYTE // 4 + 1, "missed")):
        ours = Figures(0.1, 0.1, 1, 100 + other_bytes)
        case = Case("Docker 25", CHANGED)
        (line,) = archive.goal_lines(case, measured(ours, peer), 600, 100)
        assert line[-1] == status


def test_incompressible_layers_have_a_separate_goal() -> None:
    figures = measured(Figures(0.5, 0.6, 1, 600), Figures(1.0, 1.0, 1, 700))
    for state, status in ((NOISE, "reached"), ("missing", "missed")):
        found = goal_statuses(archive.goal_lines(Case("Docker 25", state), figures, 600, 100))
        assert found[f"archive, Docker 25, {state}, cpu s"] == status


def test_a_failed_peer_is_not_compared() -> None:
    figures = measured(Figures(0.5, 0.6, 1, 600), Figures(failure="failed: invalid header"))
    assert not list(archive.goal_lines(Case(COMPRESSED, NOISE), figures, 600, 100))
    assert "| skopeo 1.0 | failed: invalid header |" in archive.table("any", figures)


def test_our_command_line_is_not_a_peer() -> None:
    assert not is_peer(OURS)
    assert is_peer(SKOPEO)
