from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_source_files_have_fewer_than_400_lines() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    lengths = {
        name: len((ROOT / name).read_text().splitlines())
        for name in listed.stdout.split()
        if (ROOT / name).exists()
    }
    assert lengths
    assert not {name: length for name, length in lengths.items() if length >= 400}
