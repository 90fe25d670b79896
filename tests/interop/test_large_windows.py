"""Layers compressed by the zstd program with large windows, in archives of `docker save`."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from local.archives import SavedImage, build_docker_save
from local.images import Layer, build_layer
from local.objects import ObjectStorage
from local.registry import RegistryServer
from local.registry.digests import Digest, digest_of
from local.web import Request, Response
from tests.programs import find_program
from tests.replicating import replicate_once

from ecr_image_replicator.errors import InvalidArchiveError
from ecr_image_replicator.outcome import Outcome

#: The frames have a window size, since zstd does not know the content size.
DEFAULT_WINDOW, LARGE_WINDOW, OVERSIZED_WINDOW = "-19", "-3 --long=26", "--ultra -22 --long=27"


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStorage]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "tests")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    with ObjectStorage() as started:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", started.url)
        yield started


@pytest.fixture
def destination() -> Iterator[RegistryServer]:
    with RegistryServer() as started:
        yield started


def compress(content: bytes, options: str) -> bytes:
    command = [find_program("zstd"), "--quiet", *options.split()]
    return subprocess.run(command, input=content, capture_output=True, check=True).stdout


def layer_of(content: bytes, diff_id: Digest) -> Layer:
    return Layer(content, digest_of(content), diff_id, "zstd")


def zstd_layer(seed: int, options: str) -> Layer:
    plain = build_layer(100_000, seed, "none")
    return layer_of(compress(plain.content, options), plain.diff_id)


def copy(storage: ObjectStorage, destination: RegistryServer, path: Path) -> Outcome:
    storage.put("app.tar", path)
    return replicate_once(
        {"SrcImage": "s3://archives/app.tar", "DestImage": f"{destination.host}/app:1"}, seconds=60
    )


@pytest.mark.parametrize(("options", "is_in_turn"), [(DEFAULT_WINDOW, False), (LARGE_WINDOW, True)])
def test_layers_with_large_windows_are_read_sequentially(
    storage: ObjectStorage,
    destination: RegistryServer,
    tmp_path: Path,
    options: str,
    is_in_turn: bool,
) -> None:
    layers = [zstd_layer(seed, options) for seed in range(4)]
    sent_before: list[int] = []
    all_layers = threading.Barrier(len(layers))

    def watch(request: Request, response: Response) -> Response:
        first, last = map(int, re.findall(r"\d+", request.headers["range"]))
        if last - first > 20_000:  # not a read of the archive's index
            sent_before.append([each.method for each in destination.requests].count("PATCH"))
            if not is_in_turn:
                all_layers.wait(60)  # passes only if all layers are read concurrently
        return response

    storage.alteration = watch
    saved = build_docker_save(tmp_path / "a.tar", [SavedImage(layers, ["app:1"])], "compressed")

    assert copy(storage, destination, saved).changed
    assert sent_before == ([0, 1, 2, 3] if is_in_turn else [0, 0, 0, 0])
    found = destination.store.manifest("app", "1").document["layers"]
    assert [layer["digest"] for layer in found] == [layer.digest for layer in layers]


def test_a_window_over_the_limit_is_rejected(
    storage: ObjectStorage, destination: RegistryServer, tmp_path: Path
) -> None:
    layers = [zstd_layer(1, OVERSIZED_WINDOW)]
    saved = build_docker_save(tmp_path / "a.tar", [SavedImage(layers)], "compressed")

    with pytest.raises(
        InvalidArchiveError,
        match=r"window of more than 75497472 bytes\. Compress it with a smaller window, such as "
        r"that of zstd --long=26",
    ):
        copy(storage, destination, saved)
    assert destination.store.open_uploads == ()


def test_a_larger_window_in_a_later_frame_is_rejected(
    storage: ObjectStorage, destination: RegistryServer, tmp_path: Path
) -> None:
    plain = build_layer(100_000, 1, "none")
    halves = plain.content[:50_000], plain.content[50_000:]
    content = compress(halves[0], DEFAULT_WINDOW) + compress(halves[1], LARGE_WINDOW)
    saved = build_docker_save(
        tmp_path / "a.tar", [SavedImage([layer_of(content, plain.diff_id)])], "compressed"
    )

    with pytest.raises(
        InvalidArchiveError,
        match=r"window of more than 8388608 bytes\. Compress it with a smaller window, such as "
        r"that of zstd -19",
    ):
        copy(storage, destination, saved)
