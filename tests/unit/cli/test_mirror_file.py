"""The files of the mirror command: the mirror, its state and its report."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from ecr_image_replicator.cli.mirror_file import check_outputs, read_mirror_file, write_file
from ecr_image_replicator.errors import RequestError


def test_a_written_file_replaces_the_old_one_and_keeps_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    file.write_bytes(b"old")
    file.chmod(0o640)

    write_file(file, b"new")

    assert file.read_bytes() == b"new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("name", ["mirror.json", "mirror.yaml"])
def test_numbers_stay_texts(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    text = '{"Tags": [1.10, 17]}' if name == "mirror.json" else "Tags: [1.10, 17]"
    file.write_text(text)

    assert read_mirror_file(file) == {"Tags": ["1.10", "17"]}


def test_a_symbolic_link_is_written_through(tmp_path: Path) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.touch()
    link.symlink_to(file)

    write_file(link, b"new")

    assert link.is_symlink()
    assert file.read_bytes() == b"new"


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_file(pipe, b"report")
        assert os.read(reader, 100) == b"report"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_file_that_cannot_be_replaced_is_written_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "state.json"

    def is_mounted(*_: object) -> None:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    monkeypatch.setattr(Path, "replace", is_mounted)
    write_file(file, b"new")

    assert file.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("name", "reason"),
    [("", "Is a directory"), ("none/report.json", "No such file or directory")],
)
def test_a_file_that_cannot_be_written_is_found_before_the_run(
    name: str, reason: str, tmp_path: Path
) -> None:
    file = tmp_path / name
    with pytest.raises(RequestError, match=f"^invalid output file {file}: {reason}"):
        check_outputs(None, file)
    with pytest.raises(RequestError, match=f"^invalid output file {file}: {reason}"):
        write_file(file, b"")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Images: []\nRepositories: []\nImages: []\n", "duplicate key 'Images' (line 1)"),
        ("Repositories:\n- Tags: a\n  Tags: b\n", "duplicate key 'Tags' (line 2)"),
        ('{"Images": [{"SrcImage": "a", "SrcImage": "b"}]}', "duplicate key 'SrcImage'"),
    ],
)
def test_a_duplicate_key_is_an_error(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "mirror.yaml"
    file.write_text(text)
    with pytest.raises(RequestError) as caught:
        read_mirror_file(file)
    assert str(caught.value) == f"invalid mirror file {file}: {message}"
