"""Archives copied in a process that cannot write to files (RLIMIT_FSIZE 0)."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from local.archives import SavedImage, build_docker_save, build_oci_layout
from local.images import build_image, build_layer
from local.objects import ObjectStorage
from local.registry import RegistryServer
from tests.functional.copied_images import diff_ids_of

ROOT = Path(__file__).parent.parent.parent
PROGRAM = textwrap.dedent("""
    import resource, sys, tempfile
    import app
    from ecr_image_replicator.deadline import Deadline
    from ecr_image_replicator.copy.progress import LoggedProgress
    from ecr_image_replicator.request.parsing import parse_request

    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    host, *keys = sys.argv[1:]
    for key in keys:
        request = parse_request(
            {"SrcImage": f"s3://archives/{key}", "DestImage": f"{host}/{key}:1"}
        )
        app.replicator().replicate(request, deadline=Deadline(60), progress=LoggedProgress())
    try:
        with tempfile.TemporaryFile() as file:
            file.write(b"a byte")
    except OSError:
        print("no byte can be written")
""")
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}
Start = Callable[..., RegistryServer]


def test_archives_are_copied_without_disk_writes(
    storage: ObjectStorage, registries: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    destination = registries()
    layers = [build_layer(300_000, seed, "none") for seed in range(3)]
    saved = build_docker_save(tmp_path / "saved", [SavedImage(layers)])
    layout = build_oci_layout(tmp_path / "layout", [(build_image(layers), "app")])
    for name, compress in COMPRESS.items():
        for kind in (saved, layout):
            path = tmp_path / f"{kind.name}-{name}"
            path.write_bytes(compress(kind.read_bytes()))
            storage.put(path.name, path)
    keys = [f"{kind}-{name}" for name in COMPRESS for kind in ("saved", "layout")]

    monkeypatch.setenv("PYTHONPATH", str(ROOT / "handler"))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM, destination.host, *keys],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )

    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.splitlines()[-1] == "no byte can be written"
    for key in keys:
        assert diff_ids_of(destination, key, "1") == [layer.diff_id for layer in layers]
