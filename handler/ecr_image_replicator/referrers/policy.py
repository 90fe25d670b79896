"""What vouches for an image: its signature checked on the way in, its referrers brought along."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.errors import RequestError, Setting
from ecr_image_replicator.referrers.copying import ReferrerCopier, ReferrerFinder, ReferrersReport
from ecr_image_replicator.request.parsing import Referrers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ecr_image_replicator.copy.cache import CachingSource
    from ecr_image_replicator.copy.plan import ReplicationPlan
    from ecr_image_replicator.copy.ports import ReferrerStore
    from ecr_image_replicator.copy.resolve import ContentReader
    from ecr_image_replicator.copy.results import BlobResults
    from ecr_image_replicator.model.digests import Digest
    from ecr_image_replicator.referrers.copying import FoundReferrer
    from ecr_image_replicator.referrers.cosign import Key
    from ecr_image_replicator.request.parsing import ReplicationRequest

_LOGGER: Final = logging.getLogger(__name__)


class ReferrerPolicy:
    """Deals with what belongs to one request's image.

    Parameters
    ----------
    request
        Says what is to be checked and copied.
    sides, reader
        The request's.
    key
        That must have signed the image; None when signatures are not looked at.
    transfer
        Carries out one plan; its failure is not the failure of everything.
    source_store, destination_store
        Where referrers are listed; None for a source that is not in a registry.
    mount_from
        The source's repository, when both are in one registry.
    streams
        Requests at once.

    Raises
    ------
    RequestError
        Something is to be looked for in a registry, and the source is in none.
    """

    def __init__(  # noqa: PLR0913 - both stores, until they are one value
        self,
        request: ReplicationRequest,
        source: CachingSource,
        reader: ContentReader,
        key: Key | None,
        transfer: Callable[[ReplicationPlan], BlobResults],
        *,
        source_store: ReferrerStore | None,
        destination_store: ReferrerStore,
        mount_from: str | None,
        streams: int,
    ) -> None:
        self._request = request
        self._source = source
        self._source_store = source_store
        self._destination_store = destination_store
        self._mount_from = mount_from
        self._reader = reader
        self._key = key
        self._transfer = transfer
        self._streams = streams
        if self.asks_for_more and source_store is None:
            setting = (
                Setting.COPY_REFERRERS if self.copies_referrers else Setting.VERIFY_SIGNATURE_KEY
            )
            raise RequestError(
                "invalid ",
                setting,
                f": {request.source} is an archive, which has no referrers and signatures",
                hint=("Remove ", setting, "."),
            )

    @property
    def asks_for_more(self) -> bool:
        """Whether there is more to do when every tag of the image is where it should be."""
        return self.copies_referrers or self._request.signature_key is not None

    @property
    def copies_referrers(self) -> bool:
        """Whether referrers are copied."""
        return self._request.referrers is not Referrers.IGNORED

    def verify(self, digest: Digest) -> None:
        """Return if the source's digest is signed by the key, or if there is no key.

        Raises
        ------
        SignatureError
            It is not; nothing may be pushed.
        """
        if self._key is None:
            return
        from ecr_image_replicator.referrers.signatures import SignatureVerifier  # noqa: PLC0415 - seldom asked for

        verifier = SignatureVerifier(self._key, self._source, self._store)
        verifier.verify(digest, str(self._request.source))
        _LOGGER.info(
            "signature verified", extra={"digest": str(digest), "key": str(self._key.origin)}
        )

    def find(self, subjects: Iterable[Digest]) -> list[list[FoundReferrer]]:
        """Find what refers to manifests of the source."""
        keep = self._source.keep_manifest
        return ReferrerFinder(self._store, keep, streams=self._streams).find(subjects)

    def copy(self, found: list[list[FoundReferrer]]) -> ReferrersReport:
        """Bring referrers to the destination, where what they refer to is by now."""
        report = ReferrerCopier(
            self._reader.fetch,
            self._reader.read_children,
            self._destination_store,
            self._transfer,
            mount_from=self._mount_from,
            is_required=self._request.referrers is Referrers.REQUIRED,
        ).copy(found)
        _LOGGER.info(
            "dry run: referrers" if self._request.dry_run else "referrers",
            extra={
                "copied": [str(each) for each in report.copied],
                "present": len(report.present),
                "refused": [str(each) for each, _ in report.refused],
            },
        )
        return report

    @property
    def _store(self) -> ReferrerStore:
        store = self._source_store
        assert store is not None  # noqa: S101 - for mypy: the constructor has looked
        return store
