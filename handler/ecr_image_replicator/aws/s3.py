"""Objects in S3, read by ranges of one pinned version.

Amazon S3 API reference, GetObject. The first response has the object's ETag, which every later
request requires (If-Match), and its size, in Content-Range.
"""

from __future__ import annotations

import http.client
import logging
import re
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from ecr_image_replicator.aws.clients import AwsEndpoint
from ecr_image_replicator.aws.operations import Operation
from ecr_image_replicator.errors import AwsError, Part, Setting, Term, TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ecr_image_replicator.aws.clients import AwsCaller, Identity
    from ecr_image_replicator.deadline import Deadline
    from ecr_image_replicator.model.archive_references import ArchiveReference
    from ecr_image_replicator.model.digests import ByteReader
    from ecr_image_replicator.retries import Backoff

_LOGGER: Final = logging.getLogger(__name__)
_CONTENT_RANGE: Final = r"bytes ([0-9]{1,19})-[0-9]{1,19}/([0-9]{1,19})"
_Hint = tuple[Part, ...]


class S3Object:
    """One version of an object; safe for several threads.

    Parameters
    ----------
    reference
        Names the object.
    caller
        Calls S3 as the source's role.
    backoff
        For responses that break off.
    deadline
        Checked before each request and each buffer.
    """

    is_sequential: Final = False

    def __init__(
        self,
        reference: ArchiveReference,
        caller: AwsCaller,
        *,
        backoff: Backoff,
        deadline: Deadline,
    ) -> None:
        self._requests = _RangeRequests(reference, caller)
        self._backoff = backoff
        self._deadline = deadline

    @property
    def etag(self) -> str:
        """The ETag that every request requires; "" before the first response."""
        return self._requests.etag

    @property
    def size_bytes(self) -> int | None:
        """The object's size; None before the first response."""
        return self._requests.size_bytes

    def read_range(self, offset: int, length: int) -> bytes:
        """Read a range.

        Raises
        ------
        AwsError
            S3 rejects the request or cannot be reached, or the object was overwritten.
        """
        content = memoryview(bytearray(self._clip(offset, length)))
        count = 0
        with self.open_range(offset, len(content)) as reader:
            while count < len(content) and (more := reader.readinto(content[count:])):
                count += more
        return bytes(content[:count])

    @contextmanager
    def open_range(self, offset: int, length: int) -> Iterator[ByteReader]:
        """Start reading a range; a response that breaks off is continued after its last byte."""
        reader = _RangeReader(
            self._requests,
            offset,
            self._clip(offset, length),
            backoff=self._backoff,
            deadline=self._deadline,
        )
        try:
            yield reader
        finally:
            reader.close()

    def _clip(self, offset: int, length: int) -> int:
        """Return the length within the object, since S3 rejects ranges behind its end."""
        if self.size_bytes is None:
            return length
        return max(0, min(length, self.size_bytes - offset))


class _RangeRequests:
    """GetObject requests for ranges of one version of an object."""

    def __init__(self, reference: ArchiveReference, caller: AwsCaller) -> None:
        self._reference = reference
        self._caller = caller
        self._lock = threading.Lock()
        self.location: Final = reference.location
        self.etag = reference.etag
        self.size_bytes: int | None = None

    def get(self, offset: int, end: int) -> Any:
        """Request the bytes from an offset to before an end; None if the object is empty.

        Raises
        ------
        AwsError
            S3 rejects the request or cannot be reached, or the object was overwritten.
        """
        parameters = {
            "Bucket": self._reference.bucket,
            "Key": self._reference.key,
            "Range": f"bytes={offset}-{end - 1}",
        }
        if self._reference.version_id:
            parameters["VersionId"] = self._reference.version_id
        if self.etag:
            parameters["IfMatch"] = self.etag
        try:
            response = self._caller.call(Operation.READ_OBJECT, parameters, AwsEndpoint())
        except AwsError as error:
            if error.code == "InvalidRange" and not offset:
                self.size_bytes = 0
                return None
            hint = _hint(self._reference, error, self._caller.identity) or error.hint
            raise self._failed(*error.message, code=error.code, hint=hint) from error
        self._pin(response, offset)
        return response["Body"]

    def _pin(self, response: Any, offset: int) -> None:
        found = re.fullmatch(_CONTENT_RANGE, response.get("ContentRange", ""))
        if found is None or int(found[1]) != offset:
            response["Body"].close()
            raise self._failed("invalid response: S3 returned another range than requested")
        with self._lock:
            self.etag = self.etag or str(response.get("ETag", ""))
            if self.size_bytes is None:
                self.size_bytes = int(found[2])

    def _failed(self, *reason: Part, code: str = "", hint: _Hint = ()) -> AwsError:
        return AwsError(
            f"cannot read {self.location}: ",
            *reason,
            action=Operation.READ_OBJECT.action,
            code=code,
            hint=hint,
        )


class _RangeReader:
    """The bytes of a range, over as many responses as necessary."""

    def __init__(
        self,
        requests: _RangeRequests,
        offset: int,
        length: int,
        *,
        backoff: Backoff,
        deadline: Deadline,
    ) -> None:
        self._requests = requests
        self._offset = offset
        self._end = offset + length
        self._backoff = backoff
        self._deadline = deadline
        self._failures = 0
        self._body: Any = None

    def readinto(self, buffer: memoryview, /) -> int:
        while self._offset < self._end:
            self._deadline.check(f"read {self._requests.location}")
            try:
                count = self._read(buffer[: self._end - self._offset])
            except (OSError, ValueError, http.client.HTTPException) as error:
                self._resume(error)
                continue
            self._offset += count
            if count or self._offset == self._end:
                self._failures = 0
                return count
            self._resume(ConnectionError())
        return 0

    def _read(self, buffer: memoryview) -> int:
        if self._body is None:
            self._body = self._requests.get(self._offset, self._end)
            self._end = min(self._end, self._requests.size_bytes or 0)
        left = self._end - self._offset
        # botocore's readinto copies twice; http.client's does not copy
        return int(self._body._raw_stream._fp.readinto(buffer[:left])) if left else 0  # noqa: SLF001

    def _resume(self, fault: BaseException) -> None:
        """Wait before the next request continues after the last byte."""
        self.close()
        self._failures += 1
        error = TransientError(f"cannot read {self._requests.location}: S3 closed the connection")
        _LOGGER.info("reading on after the last byte: %s", error)
        if not self._backoff.wait_after(self._failures, error):
            raise error from fault

    def close(self) -> None:
        body, self._body = self._body, None
        if body is None:
            return
        response = body._raw_stream  # noqa: SLF001 - as above
        if response._fp.isclosed():  # noqa: SLF001 - read to its end
            response.release_conn()
        else:
            body.close()


def _hint(reference: ArchiveReference, error: AwsError, identity: Identity) -> _Hint:
    """Return what to do about an error of S3, as far as that is known."""
    grantee: _Hint = (identity.grantee,) if identity.grantee else (" to ", Term.CALLER)
    if error.code.startswith("KMS.") or "kms:" in str(error).lower():
        return (
            "Enable the object's KMS key, and grant kms:Decrypt on it",
            *grantee,
            ".",
        )
    # MethodNotAllowed: the version is a delete marker
    versions = {"NoSuchVersion", "InvalidArgument", "MethodNotAllowed"}
    if error.code in versions and reference.version_id:
        return ("Check versionId.",)
    version = " and s3:GetObjectVersion" if reference.version_id else ""
    hints: dict[str, _Hint] = {
        "AccessDenied": (
            f"Grant s3:GetObject{version}, and s3:ListBucket to detect wrong keys,",
            *grantee,
            ". Requester Pays is not supported.",
        ),
        "InvalidObjectState": ("The object is in an archive storage class: restore it first.",),
        "NoSuchBucket": ("Check the bucket's name.",),
        "NoSuchKey": ("Check the key, and where it ends in ", Setting.SOURCE, "."),
        "PreconditionFailed": (
            "The object was overwritten: ",
            Term.RETRY,
            ", or pin its version with ?versionId=.",
        ),
    }
    return hints.get(error.code, ())
