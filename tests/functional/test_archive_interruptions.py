"""Errors and broken connections of S3 and the destination while an archive is copied."""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from local.archives import (
    SavedImage,
    build_docker_save,
)
from local.objects import ObjectStorage, error_response
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
from tests.functional.archive_failures import LAYERS, SAVED, copy_invalid_archive
from tests.functional.conftest import Function
from tests.functional.copied_images import config_of, diff_ids_of

Start = Callable[..., RegistryServer]

TWO_ATTEMPTS = {"numAttempts": 2, "baseDelay": 0, "maxDelay": 0}


@pytest.mark.parametrize(
    ("code", "message", "status", "found"),
    [
        ("NoSuchKey", "", 0, "Check the key, and where it ends in "),
        ("NoSuchBucket", "", 0, "Check the bucket's name."),
        (
            "AccessDenied",
            "",
            403,
            "Grant s3:GetObject, and s3:ListBucket to detect wrong keys,",
        ),
        ("AccessDenied", "", 403, "Requester Pays is not supported."),
        (
            "AccessDenied",
            "User: x is not authorized to perform: kms:Decrypt on the resource",
            403,
            "Enable the object's KMS key, and grant kms:Decrypt on it to the function's role.",
        ),
        ("KMS.DisabledException", "the key is disabled", 400, "Enable the object's KMS key"),
        ("InvalidObjectState", "", 403, "in an archive storage class: restore it first."),
        ("InvalidAccessKeyId", "", 403, "Check that the AWS credentials are valid and the clock"),
        ("Other", "whatever", 400, "(Other: whatever)"),
    ],
)
def test_the_message_for_an_s3_error_has_a_hint(
    function: Function,
    storage: ObjectStorage,
    registries: Start,
    tmp_path: Path,
    code: str,
    message: str,
    status: int,
    found: str,
) -> None:
    storage.alteration = lambda _request, _response: error_response(code, message, status)
    reason = copy_invalid_archive(
        function, storage, registries(), build_docker_save(tmp_path / "a", [SAVED])
    )
    assert reason.startswith("cannot read s3://archives/app.tar: s3:GetObject ")
    assert f"({code}: " in reason
    assert found in reason


def test_the_message_for_a_version_that_is_a_delete_marker_names_versionid(
    function: Function, storage: ObjectStorage, registries: Start, tmp_path: Path
) -> None:
    storage.put("app.tar", build_docker_save(tmp_path / "a", [SAVED]))
    storage.alteration = lambda _request, _response: error_response("MethodNotAllowed", "", 405)
    source = "s3://archives/app.tar?versionId=marker"

    reason = function.create(source, f"{registries().host}/app:1")["Reason"]

    assert reason.startswith(f"cannot read {source}: s3:GetObject failed: ")
    assert "(MethodNotAllowed: " in reason
    assert "). Check versionId. " in reason


def test_an_object_that_is_overwritten_during_the_copy_is_an_error(
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
    reason = copy_invalid_archive(function, storage, registries(), first)
    assert "(PreconditionFailed: " in reason
    assert (
        "The object was overwritten: deploy again, or pin its version with ?versionId=." in reason
    )


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_an_interrupted_s3_response_is_resumed_after_its_last_byte(
    function: Function,
    storage: ObjectStorage,
    registries: Start,
    tmp_path: Path,
    compress: Callable[[bytes], bytes],
) -> None:
    destination = registries()
    path = build_docker_save(tmp_path / "a", [SAVED])
    path.write_bytes(compress(path.read_bytes()))
    storage.put("app.tar", path)
    broken: list[str] = []

    def drop_connection(request: Request, response: Response) -> Response:
        if response.length < 100_000 or len(broken) >= 3:
            return response
        broken.append(request.headers["range"])
        return Response(response.status, response.headers, response.body, drop_after_bytes=90_000)

    storage.alteration = drop_connection

    copied = function.create(
        "s3://archives/app.tar", f"{destination.host}/app:1", RetryConfigs=TWO_ATTEMPTS
    )

    assert copied["Status"] == "SUCCESS", copied
    assert len(broken) == 3
    assert diff_ids_of(destination, "app", "1") == [layer.diff_id for layer in LAYERS]
    # received bytes are not requested again
    resumed = {
        f"bytes={int(span.removeprefix('bytes=').partition('-')[0]) + 90_000}-" for span in broken
    }
    requested = {entry.headers["range"].partition("-")[0] + "-" for entry in storage.requests}
    assert resumed <= requested


def test_an_s3_response_that_is_always_interrupted_is_an_error(
    function: Function, storage: ObjectStorage, registries: Start, tmp_path: Path
) -> None:
    destination = registries()
    storage.put("app.tar", build_docker_save(tmp_path / "a", [SAVED]))
    storage.alteration = lambda _, response: Response(
        response.status, response.headers, response.body, drop_after_bytes=0
    )

    copied = function.create(
        "s3://archives/app.tar", f"{destination.host}/app:1", RetryConfigs=TWO_ATTEMPTS
    )

    assert "cannot read s3://archives/app.tar: S3 closed the connection" in copied["Reason"]


class FailingPolicy(SpecificationPolicy):
    """A registry that fails the first requests of one kind."""

    def __init__(self, action: Action, times: int, fault: Exception, *, late: bool) -> None:
        self._action = action
        self._times = times
        self._fault = fault
        self._late = late

    def before(self, operation: Operation, request: Request, store: Store) -> None:
        super().before(operation, request, store)
        if not self._late:
            self._fail(operation)

    def after(self, operation: Operation, request: Request, response: Response) -> Response:
        if self._late:
            self._fail(operation)
        return super().after(operation, request, response)

    def _fail(self, operation: Operation) -> None:
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
def test_a_layer_is_pushed_again_after_a_destination_error(
    function: Function,
    storage: ObjectStorage,
    registries: Start,
    tmp_path: Path,
    action: Action,
    fault: Exception,
    late: bool,
) -> None:
    destination = registries(policy=FailingPolicy(action, 1, fault, late=late))
    storage.put("app.tar", build_docker_save(tmp_path / "a", [SAVED], format=tarfile.PAX_FORMAT))

    copied = function.create(
        "s3://archives/app.tar", f"{destination.host}/app:1", RetryConfigs=TWO_ATTEMPTS
    )

    assert copied["Status"] == "SUCCESS", copied
    assert config_of(destination, "app", "1") == SAVED.config
    assert diff_ids_of(destination, "app", "1") == [layer.diff_id for layer in LAYERS]


def test_layers_of_a_failed_attempt_are_not_pushed_again(
    function: Function, storage: ObjectStorage, registries: Start, tmp_path: Path
) -> None:
    denied = RegistryError(ErrorCode.DENIED, "push denied", status=403)
    destination = registries(policy=FailingPolicy(Action.PUT_MANIFEST, 1, denied, late=False))
    storage.put("app.tar", build_docker_save(tmp_path / "a", [SAVED]))
    named = "s3://archives/app.tar", f"{destination.host}/app:1"
    assert "push denied" in function.create(*named)["Reason"]
    storage.clear_requests()

    copied = function.create(*named)

    assert copied["Data"]["BlobsCopied"] == "0"
    assert storage.bytes_read < 200_000
