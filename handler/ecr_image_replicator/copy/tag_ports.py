"""What a mirror needs of repositories: protocols, implemented by registries and ECR."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ecr_image_replicator.model.digests import Digest


class TagHead(NamedTuple):
    """What a HEAD says of a tag.

    Attributes
    ----------
    digest
        None when the registry does not tell it.
    media_type
        Of the manifest; "" when the registry does not tell it.
    """

    digest: Digest | None
    media_type: str = ""


class TagReader(Protocol):
    """A repository whose tags can be listed and looked up without reading a manifest."""

    def list_tags(self) -> Sequence[str]:
        """Return every tag, each once.

        Raises
        ------
        ReplicationError
            The tags cannot be listed.
        """

    def find(self, selector: str) -> TagHead | None:
        """Look a tag or a digest up; None when it does not exist.

        Raises
        ------
        ReplicationError
            It cannot be looked up.
        """


class TagDigestLister(Protocol):
    """A repository that lists its tags together with their digests."""

    def list_tag_digests(self) -> Mapping[str, Digest] | None:
        """Return the digest that each tag points at; None when only single tags can be read.

        Raises
        ------
        ReplicationError
            The list cannot be read.
        """
