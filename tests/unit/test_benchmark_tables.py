from __future__ import annotations

from benchmarks.registries import Access, Network, parse_access_log
from benchmarks.rows import BIG, Row, full, quick
from benchmarks.samples import Distribution, Sample, Summary
from benchmarks.tables import GOALS, best_peer, goal_lines, limit_line, markdown_table, row_table
from benchmarks.usage import Usage

_ROW = Row(BIG, "missing", Network(tls=True, far=False))


def summary(program: str, *cpu_seconds: float, wall_seconds: float = 1.0) -> Summary:
    return Summary.of(
        program,
        [Sample(Usage(wall_seconds, each, 2**20), 1, 2, 3) for each in cpu_seconds],
    )


def test_requests_are_parsed_from_an_access_log() -> None:
    text = (
        'time="2026-11-21T10:00:00Z" level=warning msg="\\"GET\\" was odd"\n'
        '127.0.0.1 - - [21/Nov/2026:10:00:58] "HEAD /v2/a/manifests/b HTTP/1.1" 404 0 "" "x"\n'
        '127.0.0.1 - - [21/Nov/2026:10:00:59 +0000] "GET /v2/?mark=1 HTTP/2.0" 200 2 "" "y"\n'
    )
    assert parse_access_log(text) == [
        Access("HEAD", "/v2/a/manifests/b", 404, 0),
        Access("GET", "/v2/?mark=1", 200, 2),
    ]


def test_a_distribution_has_median_minimum_and_maximum() -> None:
    assert Distribution.of([3.0, 1.0, 200.0]) == Distribution(3.0, 1.0, 200.0)
    assert str(Distribution.of([0.01234, 12.34, 123.4])) == "12.3 (0.012-123)"


def test_a_summary_has_the_highest_peak_and_median_times() -> None:
    samples = [Sample(Usage(float(n), n / 10, n), n, n, n) for n in (1, 2, 9)]
    found = Summary.of("any", samples)
    assert found.peak_bytes == 9
    assert found.wall_seconds.median == 2
    assert found.source_requests == 2


def test_the_best_peer_excludes_our_rows_and_the_floor() -> None:
    summaries = [summary("floor", 1), summary("ours, warm", 2), summary("skopeo", 5, 4, 3)]
    assert best_peer(summaries, lambda each: each.cpu_seconds.median) == 4


def test_a_row_shows_every_program_with_its_ratio_to_the_best_peer() -> None:
    table = row_table(_ROW, [summary("ours, warm", 2), summary("skopeo", 4), summary("x", 8)])
    lines = table.splitlines()
    assert lines[0] == "### big, missing, TLS"
    assert lines[4].startswith("| ours, warm | 1.00 (1.00-1.00) | 2.00 (2.00-2.00) | 5.33 |")
    assert [line.split(" | ")[-1] for line in lines[4:]] == ["0.50 |", "1.00 |", "2.00 |"]


def test_a_goal_is_reached_at_its_bound_and_missed_above_it() -> None:
    reached, *_ = goal_lines(_ROW, [summary("ours, warm", 0.9), summary("skopeo", 1.0)])
    missed, *_ = goal_lines(_ROW, [summary("ours, warm", 0.91), summary("skopeo", 1.0)])
    assert reached == ("`big` over TLS, cpu", "0.900", "1.00", "0.90", "0.9", "reached")
    assert missed[-3:] == ("0.91", "0.9", "missed")


def test_a_fixed_limit_is_reached_at_its_bound_and_missed_above_it() -> None:
    assert limit_line("pulls", 0, 0, "pulls") == ("pulls", "0 pulls", "", "", "0 pulls", "reached")
    assert limit_line("start", 0.121, 0.12, "s")[-2:] == ("0.120 s", "missed")


def test_a_goal_applies_to_one_row() -> None:
    far = Row(BIG, "missing", Network(tls=True, far=True))
    assert not list(goal_lines(far, [summary("ours, warm", 9), summary("skopeo", 1.0)]))


def test_quick_and_full_runs_measure_every_goal() -> None:
    names = [row.name for row in quick().rows]
    often = [row.name for row in full().often]
    for goal in GOALS:
        assert goal.row in names, goal.name
        assert goal.row in often, goal.name


def test_rows_with_a_goal_have_more_repetitions() -> None:
    extent = full(repeats=2)
    assert [extent.repeats_of(row) for row in extent.often] == [5] * len(extent.often)
    assert extent.repeats_of(Row(BIG, "there", Network(tls=True, far=False))) == 2


def test_a_table_is_markdown() -> None:
    assert markdown_table(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | --: |\n| 1 | 2 |\n"
