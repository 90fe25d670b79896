"""Local archives as sources, as the command line accepts them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from local.archives import SavedImage, build_docker_save, build_oci_layout
from local.images import build_image, build_layer
from local.registry import RegistryServer
from tests.functional.conftest import Function
from tests.functional.copied_images import config_of, diff_ids_of

from ecr_image_replicator.archive.local_file import LocalFile
from ecr_image_replicator.copy.progress import LoggedProgress
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.errors import (
    ImageNotFoundError,
    InvalidArchiveError,
    NotAllowedError,
)
from ecr_image_replicator.model.archive_references import parse_local_archive
from ecr_image_replicator.outcome import Outcome
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.parsing import parse_request
from ecr_image_replicator.request.settings import Settings

Start = Callable[..., RegistryServer]
Copy = Callable[[str], Outcome]
LAYERS = [build_layer(200_000 + seed, seed, "none") for seed in range(3)]
SAVED = SavedImage(LAYERS, ["team/app:1"])
#: The user "nobody".
UNPRIVILEGED = 65534


@pytest.fixture
def destination(registries: Start) -> RegistryServer:
    return registries()


@pytest.fixture
def copy(destination: RegistryServer) -> Iterator[Copy]:
    """Copy a source to the repository ``app``, tag 1."""
    replicator = Replicator(Settings())

    def run(source: str) -> Outcome:
        properties = {"SrcImage": source, "DestImage": f"{destination.host}/app:1"}
        request = parse_request(properties, accepts_local_archives=True)
        return replicator.replicate(request, deadline=Deadline(60), progress=LoggedProgress())

    yield run
    replicator.close()


@pytest.mark.parametrize("form", ["docker-archive:{}:team/app:1", "docker-archive:{}:@0", "{}"])
def test_a_docker_archive_is_copied(
    copy: Copy, destination: RegistryServer, tmp_path: Path, form: str
) -> None:
    path = build_docker_save(tmp_path / "app.tar", [SAVED])

    first, again = copy(form.format(path)), copy(form.format(path))

    assert (first.changed, again.changed) == (True, False)
    assert config_of(destination, "app", "1") == SAVED.config
    assert diff_ids_of(destination, "app", "1") == [layer.diff_id for layer in LAYERS]


def test_an_oci_archive_is_copied(copy: Copy, destination: RegistryServer, tmp_path: Path) -> None:
    image = build_image([build_layer(50_000, 1)])
    path = build_oci_layout(tmp_path / "app", [(image, "1.0")])

    assert str(copy(f"oci-archive:{path}:1.0").digest) == image.digest
    assert destination.store.manifest("app", "1").content == image.manifest


def test_a_file_of_a_missing_user_is_reported_as_not_found(copy: Copy) -> None:
    with pytest.raises(ImageNotFoundError, match=r"~nobody-there/app\.tar: file not found"):
        copy("~nobody-there/app.tar")


def test_a_missing_file_is_reported_as_not_found(copy: Copy, tmp_path: Path) -> None:
    with pytest.raises(ImageNotFoundError, match=r"app\.tar: file not found"):
        copy(f"docker-archive:{tmp_path}/app.tar")


def test_a_directory_is_an_invalid_archive(copy: Copy, tmp_path: Path) -> None:
    with pytest.raises(InvalidArchiveError, match=f"invalid archive {tmp_path}: Is a directory"):
        copy(f"docker-archive:{tmp_path}")


def test_a_file_without_read_permission_is_reported(copy: Copy, tmp_path: Path) -> None:
    path = build_docker_save(tmp_path / "app.tar", [SAVED])
    copy(str(path))  # an unprivileged user may not be able to import modules
    path.chmod(0)
    with (
        _without_privileges(),
        pytest.raises(NotAllowedError, match="not allowed by the file's permissions"),
    ):
        copy(str(path))


@contextmanager
def _without_privileges() -> Iterator[None]:
    """Run as an unprivileged user: root may read every file."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(UNPRIVILEGED)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_file_that_changes_during_the_copy_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "app.tar"
    path.write_bytes(b"one")
    file = LocalFile(parse_local_archive(str(path)))
    assert file.read_range(1, 10) == b"ne"
    path.write_bytes(b"other")
    with pytest.raises(InvalidArchiveError, match="was changed while it was read"):
        file.read_range(0, 1)


def test_the_function_does_not_read_local_files(
    function: Function, destination: RegistryServer, tmp_path: Path
) -> None:
    path = build_docker_save(tmp_path / "app.tar", [SAVED])
    for source in (str(path), f"docker-archive:{path}"):
        response = function.create(source, f"{destination.host}/app:1")
        assert response["Status"] == "FAILED"
        assert "invalid" in response["Reason"]
    assert destination.requests == ()
