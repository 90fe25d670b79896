from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.programs import CopyError
from benchmarks.report import Report, describe


def test_a_failed_row_does_not_stop_other_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "results.md"
    (tmp_path / "skopeo.log").write_text("what skopeo printed")
    report = Report("Measured today", path)
    with report.attempt("first", tmp_path):
        raise CopyError("skopeo failed\nwith more lines")
    with report.attempt("second"):
        report.write("### second\n\nmeasured\n")
    assert report.finish() == 1
    printed = capsys.readouterr().err
    assert "FAILED: first" in printed
    assert "what skopeo printed" in printed
    written = path.read_text()
    assert "### first\n\nNot measured: CopyError: skopeo failed\n" in written
    assert "with more lines" not in written
    assert "### second\n\nmeasured\n" in written


def test_a_run_without_failures_succeeds(tmp_path: Path) -> None:
    report = Report("Measured today", tmp_path / "results.md")
    with report.attempt("only"):
        report.write("### only\n")
    assert report.finish() == 0
    assert "Not measured" not in report.text()


def test_an_interruption_is_not_recorded_as_a_failed_row() -> None:
    report = Report("Measured today")
    with pytest.raises(KeyboardInterrupt), report.attempt("only"):
        raise KeyboardInterrupt


def test_goals_are_written_immediately_at_the_top(tmp_path: Path) -> None:
    path = tmp_path / "results.md"
    report = Report("Measured today", path)
    report.write("### a row\n")
    report.add_goals(("a goal", "1", "2", "0.50", "1", "reached"))
    lines = path.read_text().splitlines()
    assert lines[0] == "# Measured today"
    assert lines.index("| a goal | 1 | 2 | 0.50 | 1 | reached |") < lines.index("### a row")


def test_an_error_without_a_message_is_described_by_its_class() -> None:
    assert describe(ValueError()) == "ValueError"
