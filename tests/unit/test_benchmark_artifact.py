from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from benchmarks import artifact
from benchmarks.artifact import ArtifactError
from benchmarks.versions import parse_requirement

_TEMPLATE = Path(__file__).parents[2] / "template.yaml"


def build(directory: Path, *, bytecode: bool) -> Path:
    directory.mkdir()
    (directory / "module.py").write_text("VALUE = 1\n" * 1000)
    (directory / "__pycache__").mkdir()
    if bytecode:
        (directory / "__pycache__" / "module.cpython-313.pyc").write_bytes(b"\0")
    return directory


def test_fixed_environment_variables_are_read_from_the_template() -> None:
    found = artifact.fixed_variables(_TEMPLATE.read_text())
    assert found == {"MALLOC_ARENA_MAX": "2", "PARALLEL_STREAMS": "12"}


def test_the_function_precedes_its_layer_in_the_path_and_writes_no_bytecode() -> None:
    found = artifact.environment()
    path = found["PYTHONPATH"].split(":")
    assert path == [str(artifact.FUNCTION), str(artifact.LAYER / "python")]
    assert found["PYTHONDONTWRITEBYTECODE"] == "1"


def test_a_complete_artifact_is_accepted(tmp_path: Path) -> None:
    function = build(tmp_path / "function", bytecode=True)
    artifact.check(function, function, function)


def test_a_missing_artifact_is_rejected(tmp_path: Path) -> None:
    function = build(tmp_path / "function", bytecode=True)
    with pytest.raises(ArtifactError, match=r"layer does not exist\. Run `make bench`"):
        artifact.check(function, tmp_path / "layer", function)


def test_an_artifact_without_bytecode_is_rejected(tmp_path: Path) -> None:
    function = build(tmp_path / "function", bytecode=True)
    layer = build(tmp_path / "layer", bytecode=False)
    with pytest.raises(ArtifactError, match="1 modules have no bytecode"):
        artifact.check(function, layer, function)


def test_unpacked_and_zipped_sizes_are_measured(tmp_path: Path) -> None:
    layer = build(tmp_path / "layer", bytecode=True)
    assert artifact.unpacked_bytes(layer) == 10 * 1000 + 1
    with zipfile.ZipFile(tmp_path / "expected.zip", "w", zipfile.ZIP_DEFLATED) as expected:
        for name in ("__pycache__/module.cpython-313.pyc", "module.py"):
            expected.write(layer / name, f"layer/{name}")
    assert artifact.zipped_bytes(layer) == (tmp_path / "expected.zip").stat().st_size
    assert artifact.zipped_bytes(layer / "module.py") < 1000


def test_the_version_of_a_peer_is_parsed_from_its_requirement() -> None:
    assert parse_requirement("any-tool==1.2.3 --hash=sha256:00\n") == "any-tool 1.2.3"
