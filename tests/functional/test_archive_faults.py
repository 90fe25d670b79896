"""Archives that are wrong, S3 or a destination that refuses or breaks off: one sentence each."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from local.archives import (
    ArchiveFile,
    SavedImage,
    build_config,
    build_docker_save,
    build_oci_layout,
    write_tar,
)
from local.images import build_image, build_layer
from local.objects import ObjectStorage, refused
from local.registry import (
    Action,
    DroppedConnectionError,
    ErrorCode,
    Operation,
    RegistryError,
    RegistryServer,
    SpecificationPolicy,
    Store,
)
from local.web import Request, Response
from tests.functional.arrivals import config_of, diff_ids_of
from tests.functional.conftest import Function

Start = Callable[..., RegistryServer]

LAYERS = [build_layer(400_000 + seed, seed, "none") for seed in range(3)]
SAVED = SavedImage(LAYERS, ["app:1"])
IMPATIENT = {"numAttempts": 2, "baseDelay": 0, "maxDelay": 0}


def saved_files(**changes: bytes | None) -> list[ArchiveFile]:
    """The files of a saved image with one layer; a change of None leaves the file out."""
    config = build_config([LAYERS[0].diff_id])
    files = {
        "layer": LAYERS[0].content,
        "config": config,
        "manifest": json.dumps(
            [{"Config": "config", "RepoTags": ["app:1"], "Layers": ["layer"]}]
        ).encode(),
        **changes,
    }
    names = {"manifest": "manifest.json"}
    return [
        ArchiveFile(names.get(name, name), content)
        for name, content in files.items()
        if content is not None
    ]


def entry(**fields: object) -> bytes:
    return json.dumps([{"Config": "config", "Layers": ["layer"], **fields}]).encode()


def reason_of(
    function: Function, storage: ObjectStorage, destination: RegistryServer, path: Path
) -> str:
    """Fail to replicate an archive over an image that stays as it is."""
    kept = build_image([build_layer(1000)])
    for content in kept.blobs.values():
        destination.store.put_blob("app", content)
    destination.store.put_manifest("app", "1", kept.manifest, kept.media_type)
    storage.put("app.tar", path)

    answer = function.create("s3://archives/app.tar", f"{destination.host}/app:1")

    assert answer["Status"] == "FAILED", answer
    assert destination.store.manifest("app", "1").digest == kept.digest
    assert not destination.store.open_uploads
    reason: str = answer["Reason"]
    assert "defect" not in reason
    assert "s3://archives/app.tar" in reason
    return reason


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (saved_files(manifest=b"{"), "its manifest.json is not valid JSON"),
        (saved_files(manifest=b"{}"), "its manifest.json is not a list of images"),
        (saved_files(manifest=b"[]"), "its manifest.json is not a list of images"),
        (saved_files(manifest=b"[1]"), "an image in its manifest.json has no Config"),
        (saved_files(manifest=entry(Layers="layer")), "has Layers that are no list of texts"),
        (saved_files(manifest=entry(Config="gone")), "names the config 'gone', which is missing"),
        (saved_files(manifest=entry(Layers=["gone"])), "lacks 'gone', which its image refers to"),
        (saved_files(manifest=entry(Layers=[])), "the image has 0 layers and its config 'config' "),
        (saved_files(config=b"nonsense"), "the image's config is not valid JSON"),
        (saved_files(config=b"{}"), "the image's config has no rootfs with diff_ids"),
        (saved_files(config=build_config(["x"])), "'x' is not a digest"),
        (saved_files(layer=None), "lacks 'layer', which its image refers to; it was written"),
        (saved_files(layer=b"BZh9 and so on"), "is compressed with bzip2, which images cannot"),
        (saved_files(layer=b"\x1f\x8b and so on"), "is damaged or needs more than"),
        (
            saved_files(layer=LAYERS[1].content),
            "the layer 'layer' of the archive s3://archives/app.tar is not the one of the diff_id",
        ),
        (
            [ArchiveFile("etc/passwd", b"root")],
            "manifest.json nor index.json is in it; it holds 1 file, the first 'etc/passwd'",
        ),
        ([ArchiveFile("repositories", b"{}")], "was written by a Docker older than 1.10"),
        ([ArchiveFile("index.json", b"[]")], "its index.json is malformed"),
        ([ArchiveFile("index.json", b'{"manifests": []}')], "holds no image in its index.json"),
    ],
)
def test_a_bad_archive_is_said_to_be_bad_in_what(
    function: Function,
    storage: ObjectStorage,
    registries: Start,
    tmp_path: Path,
    files: Sequence[ArchiveFile],
    found: str,
) -> None:
    reason = reason_of(function, storage, registries(), write_tar(tmp_path / "a", files))
    assert found in reason


def test_a_config_that_is_not_what_its_name_says_is_refused(
    function: Function, storage: ObjectStorage, registries: Start, tmp_path: Path
) -> None:
    name = f"{'0' * 64}.json"
    files = [*saved_files(manifest=entry(Config=name)), ArchiveFile(name, SAVED.config)]
    reason = reason_of(function, storage, registries(), write_tar(tmp_path / "a", files))
    assert f"the config '{name}' hashes to sha256:" in reason


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.95])
@pytest.mark.parametrize("kind", ["folders", "layout"])
def test_a_cut_anywhere_leaves_the_destination_as_it_was(
    function: Function,
    storage: ObjectStorage,
    registries: Start,
    tmp_path: Path,
    share: float,
    kind: str,
) -> None:
    if kind == "layout":
        whole = build_oci_layout(tmp_path / "a", [(build_image(LAYERS), "app:1")])
    else:
        whole = build_docker_save(tmp_path / "a", [SAVED])
    content = whole.read_bytes()
    whole.write_bytes(content[: int(len(content) * share)])

    reason = reason_of(function, storage, registries(), whole)

    assert any(word in reason for word in ("cut off", "it is empty", "holds no image"))


def test_a_blob_that_is_not_its_digests_is_not_pushed(
    function: Function, storage: ObjectStorage, registries: Start, tmp_path: Path
) -> None:
    image = build_image([build_layer(100_000)])
    path = build_oci_layout(tmp_path / "a", [(image, "")])
    content = bytearray(path.read_bytes())
    layer = next(blob for blob in image.blobs.values() if blob != image.config)
    content[content.index(layer) + 50_000] ^= 1
    path.write_bytes(content)
    storage.put("app.tar", path)
    destination = registries()

    answer = function.create("s3://archives/app.tar", f"{destination.host}/app:1")

    assert answer["Reason"].startswith("in the archive s3://archives/app.tar, the blob sha256:")
    assert "hashes to sha256:" in answer["Reason"]
    assert destination.store.blobs("app") <= {image.manifest, *image.blobs} - {layer}
    assert not destination.store.tags("app")


def test_several_images_and_no_choice_lists_them(
    function: Function, storage: ObjectStorage, registries: Start, tmp_path: Path
) -> None:
    images = [SavedImage(LAYERS[:1], ["one:1", "uno:1"]), SavedImage(LAYERS, ["two:1"])]
    reason = reason_of(function, storage, registries(), build_docker_save(tmp_path / "a", images))
    assert (
        "does not say which image of the archive is meant; it holds 2 images: @0 one:1, uno:1; @1 "
        "two:1; add :repository:tag, or :@ and the position"
    ) in reason


@pytest.mark.parametrize(
    ("code", "message", "status", "said"),
    [
        ("NoSuchKey", "", 0, "check the key, and where in SrcImage it ends"),
        ("NoSuchBucket", "", 0, "check the bucket's name"),
        ("AccessDenied", "", 403, "needs s3:GetObject on it, and s3:ListBucket on the bucket"),
        ("AccessDenied", "", 403, "buckets whose requester pays are not supported"),
        (
            "AccessDenied",
            "User: x is not authorized to perform: kms:Decrypt on the resource",
            403,
            "needs kms:Decrypt on the key",
        ),
        ("KMS.DisabledException", "the key is disabled", 400, "with a KMS key that is disabled"),
        ("InvalidObjectState", "", 403, "in an archived storage class: restore it first"),
        ("Other", "whatever", 400, "was refused (Other: whatever); see the log stream"),
    ],
)
def test_a_refusal_of_s3_says_what_to_do(
    function: Function,
    storage: ObjectStorage,
    registries: Start,
    tmp_path: Path,
    code: str,
    message: str,
    status: int,
    said: str,
) -> None:
    storage.alteration = lambda _request, _response: refused(code, message, status)
    reason = reason_of(function, storage, registries(), build_docker_save(tmp_path / "a", [SAVED]))
    assert reason.startswith(
        "the archive s3://archives/app.tar cannot be read: s3:GetObject by the function's role was "
        f"refused ({code}: "
    )
    assert said in reason


def test_an_overwritten_object_is_an_error_and_no_mixture(
    function: Function, storage: ObjectStorage, registries: Start, tmp_path: Path
) -> None:
    first = build_docker_save(tmp_path / "1", [SAVED])
    second = build_docker_save(tmp_path / "2", [SavedImage(LAYERS[::-1])])
    served: list[Response] = []

    def overwrite(_: Request, response: Response) -> Response:
        served.append(response)
        if len(served) == 3:
            storage.put("app.tar", second)
        return response

    storage.alteration = overwrite
    reason = reason_of(function, storage, registries(), first)
    assert "(PreconditionFailed: " in reason
    assert "it was overwritten while it was read; deploy again, or pin its version" in reason


def test_an_answer_that_breaks_off_goes_on_after_its_last_byte(
    function: Function, storage: ObjectStorage, registries: Start, tmp_path: Path
) -> None:
    destination = registries()
    storage.put("app.tar", build_docker_save(tmp_path / "a", [SAVED]))
    broken: list[str] = []

    def break_off(request: Request, response: Response) -> Response:
        if response.length < 100_000 or len(broken) >= 3:
            return response
        broken.append(request.headers["range"])
        return Response(response.status, response.headers, response.body, drop_after_bytes=90_000)

    storage.alteration = break_off

    answer = function.create(
        "s3://archives/app.tar", f"{destination.host}/app:1", RetryConfigs=IMPATIENT
    )

    assert answer["Status"] == "SUCCESS", answer
    assert len(broken) == 3
    assert diff_ids_of(destination, "app", "1") == [layer.diff_id for layer in LAYERS]
    # what was received before the break is not asked for again
    resumed = {
        f"bytes={int(span.removeprefix('bytes=').partition('-')[0]) + 90_000}-" for span in broken
    }
    asked = {entry.headers["range"].partition("-")[0] + "-" for entry in storage.requests}
    assert resumed <= asked


def test_an_answer_that_always_breaks_off_is_given_up(
    function: Function, storage: ObjectStorage, registries: Start, tmp_path: Path
) -> None:
    destination = registries()
    storage.put("app.tar", build_docker_save(tmp_path / "a", [SAVED]))
    storage.alteration = lambda _, response: Response(
        response.status, response.headers, response.body, drop_after_bytes=0
    )

    answer = function.create(
        "s3://archives/app.tar", f"{destination.host}/app:1", RetryConfigs=IMPATIENT
    )

    assert "S3 broke off while it gave s3://archives/app.tar" in answer["Reason"]


class Stumbling(SpecificationPolicy):
    """Does something wrong with each request of one kind, for the first times."""

    def __init__(self, action: Action, times: int, fault: Exception, *, late: bool) -> None:
        self._action = action
        self._times = times
        self._fault = fault
        self._late = late

    def before(self, operation: Operation, request: Request, store: Store) -> None:
        super().before(operation, request, store)
        if not self._late:
            self._stumble(operation)

    def after(self, operation: Operation, request: Request, response: Response) -> Response:
        if self._late:
            self._stumble(operation)
        return super().after(operation, request, response)

    def _stumble(self, operation: Operation) -> None:
        if operation.action is self._action and self._times:
            self._times -= 1
            raise self._fault


OVERLOADED = RegistryError(ErrorCode.TOOMANYREQUESTS, "later", status=503)


@pytest.mark.parametrize(
    ("action", "fault", "late"),
    [
        (Action.APPEND_UPLOAD, OVERLOADED, False),
        (Action.APPEND_UPLOAD, DroppedConnectionError(), False),
        (Action.APPEND_UPLOAD, DroppedConnectionError(), True),
        (Action.FINISH_UPLOAD, OVERLOADED, False),
        (Action.FINISH_UPLOAD, DroppedConnectionError(), True),
    ],
)
def test_a_destination_that_stumbles_gets_the_layer_again(
    function: Function,
    storage: ObjectStorage,
    registries: Start,
    tmp_path: Path,
    action: Action,
    fault: Exception,
    late: bool,
) -> None:
    destination = registries(policy=Stumbling(action, 1, fault, late=late))
    storage.put("app.tar", build_docker_save(tmp_path / "a", [SAVED], format=tarfile.PAX_FORMAT))

    answer = function.create(
        "s3://archives/app.tar", f"{destination.host}/app:1", RetryConfigs=IMPATIENT
    )

    assert answer["Status"] == "SUCCESS", answer
    assert config_of(destination, "app", "1") == SAVED.config
    assert diff_ids_of(destination, "app", "1") == [layer.diff_id for layer in LAYERS]


def test_what_a_failed_attempt_has_brought_is_not_brought_again(
    function: Function, storage: ObjectStorage, registries: Start, tmp_path: Path
) -> None:
    denied = RegistryError(ErrorCode.DENIED, "no manifest today", status=403)
    destination = registries(policy=Stumbling(Action.PUT_MANIFEST, 1, denied, late=False))
    storage.put("app.tar", build_docker_save(tmp_path / "a", [SAVED]))
    named = "s3://archives/app.tar", f"{destination.host}/app:1"
    assert "no manifest today" in function.create(*named)["Reason"]
    storage.clear_requests()

    answer = function.create(*named)

    assert answer["Data"]["BlobsCopied"] == "0"
    assert storage.bytes_read < 200_000
