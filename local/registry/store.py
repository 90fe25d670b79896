"""Content on disk, by repository, without HTTP."""

from __future__ import annotations

import json
import secrets
import shutil
import tempfile
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local.registry.digests import Digest, DigestError, algorithm_of, digest_of, parse_digest
from local.registry.uploads import OpenUpload, UploadSession


class UnknownContentError(LookupError):
    """A repository has no such blob or manifest."""


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob's file and size in bytes."""

    digest: Digest
    path: Path
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest unchanged as pushed, with its JSON object."""

    digest: Digest
    content: bytes
    media_type: str
    document: Mapping[str, Any] = field(repr=False)


@dataclass(slots=True)
class _Repository:
    blobs: set[Digest] = field(default_factory=set)
    manifests: dict[Digest, Manifest] = field(default_factory=dict)
    tags: dict[str, Digest] = field(default_factory=dict)


class Store:
    """Blobs in files below `directory`, each visible only in repositories that stored or linked it.

    Without a directory a temporary one is created, and removed by `close`. The index of
    repositories is in memory only. Thread-safe.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._temporary = directory is None
        self._directory = directory or Path(tempfile.mkdtemp(prefix="registry-"))
        self._uploads_directory = self._directory / "uploads"
        self._uploads_directory.mkdir(parents=True, exist_ok=True)
        for algorithm in ("sha256", "sha512"):
            (self._directory / "blobs" / algorithm).mkdir(parents=True, exist_ok=True)
        self._repositories: dict[str, _Repository] = {}
        self._uploads: dict[str, UploadSession] = {}
        self._lock = threading.RLock()

    def close(self) -> None:
        """Remove the temporary directory, if there is one."""
        if self._temporary:
            shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def repositories(self) -> tuple[str, ...]:
        """The names of repositories that exist, sorted."""
        with self._lock:
            return tuple(sorted(self._repositories))

    def create_repository(self, repository: str) -> None:
        """Create an empty repository if it does not exist. Storing content also creates it."""
        with self._lock:
            self._repositories.setdefault(repository, _Repository())

    # Blobs

    def put_blob(self, repository: str, content: bytes) -> Digest:
        """Store bytes as a blob of a repository and return their digest."""
        digest = digest_of(content)
        arriving = self._uploads_directory / str(uuid.uuid4())
        arriving.write_bytes(content)
        self._adopt(arriving, digest)
        self.link_blob(repository, digest)
        return digest

    def link_blob(self, repository: str, digest: Digest) -> None:
        """Make a blob of another repository visible in this one (a mount)."""
        with self._lock:
            self.create_repository(repository)
            self._repositories[repository].blobs.add(digest)

    def find_blob(self, repository: str, digest: str) -> Blob | None:
        """Return a repository's blob, or None."""
        with self._lock:
            known = self._repositories.get(repository)
            if known is None or digest not in known.blobs:
                return None
        path = self._blob_path(parse_digest(digest))
        return Blob(Digest(digest), path, path.stat().st_size)

    def has_blob(self, repository: str, digest: str) -> bool:
        """Return whether a repository has a blob."""
        return self.find_blob(repository, digest) is not None

    def read_blob(self, repository: str, digest: str) -> bytes:
        """Return a blob's bytes.

        Raises
        ------
        UnknownContentError
            The repository has no such blob.
        """
        blob = self.find_blob(repository, digest)
        if blob is None:
            raise UnknownContentError(f"{repository}@{digest}")
        return blob.path.read_bytes()

    def blobs(self, repository: str) -> frozenset[Digest]:
        """Return the digests of a repository's blobs."""
        with self._lock:
            known = self._repositories.get(repository)
            return frozenset(known.blobs) if known else frozenset()

    def delete_blob(self, repository: str, digest: str) -> bool:
        """Remove a blob from a repository and return whether it existed."""
        with self._lock:
            known = self._repositories.get(repository)
            if known is None or digest not in known.blobs:
                return False
            known.blobs.discard(Digest(digest))
            return True

    # Upload sessions

    def start_upload(self, repository: str) -> UploadSession:
        """Open an upload session."""
        session_id = str(uuid.uuid4())
        path = self._uploads_directory / session_id
        session = UploadSession(repository, session_id, secrets.token_urlsafe(12), path)
        with self._lock:
            self._uploads[session_id] = session
        return session

    def find_upload(self, repository: str, session_id: str) -> UploadSession | None:
        """Return an open session of a repository, or None."""
        with self._lock:
            session = self._uploads.get(session_id)
        return session if session is not None and session.repository == repository else None

    def finish_upload(self, session: UploadSession, digest: Digest) -> bool:
        """Store a session's verified bytes as a blob. Return False if the session was cancelled."""
        with self._lock:
            if self._uploads.pop(session.id, None) is None:
                return False
        self._adopt(session.path, digest)
        self.link_blob(session.repository, digest)
        return True

    def cancel_upload(self, session: UploadSession) -> None:
        """Delete a session and its bytes."""
        with self._lock:
            self._uploads.pop(session.id, None)
        session.path.unlink(missing_ok=True)

    @property
    def open_uploads(self) -> tuple[OpenUpload, ...]:
        """The sessions that are neither finished nor cancelled, oldest first."""
        with self._lock:
            return tuple(
                OpenUpload(session.repository, session.id, session.received_bytes)
                for session in self._uploads.values()
            )

    # Manifests and tags

    def put_manifest(
        self, repository: str, reference: str, content: bytes, media_type: str
    ) -> Digest:
        """Store a manifest under a tag or its digest and return the digest.

        The content is not checked, so that tests can create a broken repository.

        Raises
        ------
        DigestError
            The reference is a digest that does not match the content.
        ValueError
            The content is not JSON.
        """
        tag = None if ":" in reference else reference
        algorithm = algorithm_of(parse_digest(reference)) if tag is None else "sha256"
        digest = digest_of(content, algorithm)
        if tag is None and reference != digest:
            message = f"the manifest is {digest}, not {reference}"
            raise DigestError(message)
        parsed = _json_object(content)
        with self._lock:
            self.create_repository(repository)
            known = self._repositories[repository]
            known.manifests[digest] = Manifest(digest, content, media_type, parsed)
            if tag is not None:
                known.tags[tag] = digest
        return digest

    def find_manifest(self, repository: str, reference: str) -> Manifest | None:
        """Return the manifest of a tag or digest, or None."""
        with self._lock:
            known = self._repositories.get(repository)
            if known is None:
                return None
            digest = known.tags.get(reference) or Digest(reference)
            return known.manifests.get(digest)

    def manifest(self, repository: str, reference: str) -> Manifest:
        """Return the manifest of a tag or digest.

        Raises
        ------
        UnknownContentError
            The repository has no such manifest.
        """
        found = self.find_manifest(repository, reference)
        if found is None:
            raise UnknownContentError(f"{repository}:{reference}")
        return found

    def manifests(self, repository: str) -> tuple[Manifest, ...]:
        """Return a repository's manifests in the order of their first push."""
        with self._lock:
            known = self._repositories.get(repository)
            return tuple(known.manifests.values()) if known else ()

    def tags(self, repository: str) -> dict[str, Digest]:
        """Return a repository's tags and the digests they point at, sorted by tag."""
        with self._lock:
            known = self._repositories.get(repository)
            return dict(sorted(known.tags.items())) if known else {}

    def delete_tag(self, repository: str, tag: str) -> bool:
        """Remove a tag but not its manifest, and return whether it existed."""
        with self._lock:
            known = self._repositories.get(repository)
            return known is not None and known.tags.pop(tag, None) is not None

    def delete_manifest(self, repository: str, digest: str) -> bool:
        """Remove a manifest and all its tags, and return whether it existed."""
        with self._lock:
            known = self._repositories.get(repository)
            if known is None or known.manifests.pop(Digest(digest), None) is None:
                return False
            known.tags = {tag: to for tag, to in known.tags.items() if to != digest}
            return True

    def _blob_path(self, digest: Digest) -> Path:
        algorithm, _, hexadecimal = digest.partition(":")
        return self._directory / "blobs" / algorithm / hexadecimal

    def _adopt(self, arriving: Path, digest: Digest) -> None:
        arriving.replace(self._blob_path(digest))


def _json_object(content: bytes) -> Mapping[str, Any]:
    document = json.loads(content)
    if not isinstance(document, dict):
        message = "a manifest is a JSON object"
        raise ValueError(message)
    return document
