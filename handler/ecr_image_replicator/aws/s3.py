"""Objects in S3, read in parts and pinned.

Amazon S3 API reference, GetObject. The first answer tells the object's ETag, by which every later
request is held to the same bytes; the size is in the same answer's Content-Range.
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
from ecr_image_replicator.errors import AwsError, TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ecr_image_replicator.aws.clients import AwsCaller
    from ecr_image_replicator.deadline import Deadline
    from ecr_image_replicator.model.archive_references import ArchiveReference
    from ecr_image_replicator.model.digests import ByteReader
    from ecr_image_replicator.retries import Backoff

_LOGGER: Final = logging.getLogger(__name__)
_CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]+)-[0-9]+/([0-9]+)")


class S3Object:
    """One version of one object; used by several threads at once.

    Parameters
    ----------
    reference
        Names the object.
    caller
        Of the source's side.
    backoff
        For answers that break off.
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
        self._reference = reference
        self._caller = caller
        self._backoff = backoff
        self._deadline = deadline
        self._lock = threading.Lock()
        #: Of the bytes that every request is held to; "" until the first.
        self.etag = reference.etag
        self.size_bytes: int | None = None

    def read_range(self, offset: int, length: int) -> bytes:
        """Read a part, pinning the object with the first one.

        Raises
        ------
        AwsError
            S3 refuses, was not reached, or the object was overwritten meanwhile.
        """
        content = memoryview(bytearray(self._clipped(offset, length)))
        count = 0
        with self.open_range(offset, len(content)) as reader:
            while count < len(content) and (more := reader.readinto(content[count:])):
                count += more
        return bytes(content[:count])

    @contextmanager
    def open_range(self, offset: int, length: int) -> Iterator[ByteReader]:
        """Start reading a part; an answer that breaks off goes on after its last byte."""
        opened = _RangeReader(self, offset, self._clipped(offset, length))
        try:
            yield opened
        finally:
            opened.close()

    def request(self, offset: int, end: int) -> Any:
        """Ask for the bytes from an offset to before an end; None when the object is empty.

        Raises
        ------
        AwsError
            S3 refuses, was not reached, or the object is another one than before.
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
            answer = self._caller.call(Operation.READ_OBJECT, parameters, AwsEndpoint())
        except AwsError as error:
            if error.code == "InvalidRange" and not offset:
                self.size_bytes = 0
                return None
            raise self._failed(f"{error}{_advice(self._reference, error)}", error.code) from error
        self._pin(answer, offset)
        return answer["Body"]

    def check(self) -> None:
        """Go on only if there is time."""
        self._deadline.check(f"read {self._reference.location}")

    def wait_after(self, attempt: int, fault: BaseException) -> None:
        """Wait before a broken answer goes on.

        Raises
        ------
        TransientError
            It has broken off too often.
        """
        error = TransientError(f"S3 broke off while it gave {self._reference.location}")
        _LOGGER.info("an object is read on where it broke off: %s", error)
        if not self._backoff.wait_after(attempt, error):
            raise error from fault

    def _clipped(self, offset: int, length: int) -> int:
        """Leave out what lies past the object's end, for which S3 has an error."""
        if self.size_bytes is None:
            return length
        return max(0, min(length, self.size_bytes - offset))

    def _pin(self, answer: Any, offset: int) -> None:
        found = _CONTENT_RANGE.fullmatch(answer.get("ContentRange", ""))
        if found is None or int(found[1]) != offset:
            answer["Body"].close()
            raise self._failed("S3 gave other bytes than were asked for")
        with self._lock:
            self.etag = self.etag or str(answer.get("ETag", ""))
            if self.size_bytes is None:
                self.size_bytes = int(found[2])

    def _failed(self, reason: str, code: str = "") -> AwsError:
        return AwsError(
            f"the archive {self._reference.location} cannot be read: {reason}",
            action=Operation.READ_OBJECT.action,
            code=code,
        )


class _RangeReader:
    """A part's bytes, over as many answers as it takes."""

    def __init__(self, source: S3Object, offset: int, length: int) -> None:
        self._source = source
        self._offset = offset
        self._end = offset + length
        self._failures = 0
        self._body: Any = None

    def readinto(self, buffer: memoryview, /) -> int:
        while self._offset < self._end:
            self._source.check()
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
            self._body = self._source.request(self._offset, self._end)
            self._end = min(self._end, self._source.size_bytes or 0)
        left = self._end - self._offset
        # botocore's readinto reads into new bytes objects and copies twice; http.client's does not
        return int(self._body._raw_stream._fp.readinto(buffer[:left])) if left else 0  # noqa: SLF001

    def _resume(self, fault: BaseException) -> None:
        self.close()
        self._failures += 1
        self._source.wait_after(self._failures, fault)

    def close(self) -> None:
        body, self._body = self._body, None
        if body is None:
            return
        response = body._raw_stream  # noqa: SLF001 - as above
        if response._fp.isclosed():  # noqa: SLF001 - read to its end
            response.release_conn()
        else:
            body.close()


def _advice(reference: ArchiveReference, error: AwsError) -> str:
    """Say what to do about a refusal, where that is known."""
    if error.code.startswith("KMS.") or "kms:" in str(error).lower():
        return (
            "; the object is encrypted with a KMS key that is disabled or that the role may not "
            "use: the function's role, or SrcRoleArn, needs kms:Decrypt on the key"
        )
    if error.code in {"NoSuchVersion", "InvalidArgument"} and reference.version_id:
        return "; check versionId"
    version = " and s3:GetObjectVersion" if reference.version_id else ""
    advice = {
        "AccessDenied": f"the function's role, or SrcRoleArn, needs s3:GetObject{version} on it, "
        "and s3:ListBucket on the bucket to be told that a key is wrong; buckets whose requester "
        "pays are not supported",
        "InvalidObjectState": "it is in an archived storage class: restore it first",
        "NoSuchBucket": "check the bucket's name",
        "NoSuchKey": "check the key, and where in SrcImage it ends",
        "PreconditionFailed": "it was overwritten while it was read; deploy again, or pin its "
        "version with ?versionId=",
    }.get(error.code)
    return f"; {advice}" if advice else ""
