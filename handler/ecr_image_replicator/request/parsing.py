"""The properties of a resource, parsed into one frozen request.

The properties are those of docs/resource-reference.md. Unknown properties and values of the wrong
type are rejected before anything is read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from ecr_image_replicator.errors import InvalidReferenceError, RequestError, Setting
from ecr_image_replicator.model.archive_references import (
    ArchiveReference,
    is_archive_reference,
    is_explicitly_local,
    is_local_archive,
    parse_archive_reference,
    parse_local_archive,
)
from ecr_image_replicator.model.conversion import ManifestFormat
from ecr_image_replicator.model.digests import Digest
from ecr_image_replicator.model.platforms import Platform
from ecr_image_replicator.model.references import ImageReference, parse_image_reference
from ecr_image_replicator.request.platform_choice import (
    choosing_setting,
    parse_architecture_tags,
    parse_platforms,
    parse_tag,
)
from ecr_image_replicator.request.properties import (
    PROPERTY_NAMES,
    find_similar,
    find_value,
    invalid,
    parse_as,
    quote,
    read_boolean,
    read_choice,
    read_required,
    read_text,
    read_texts,
)
from ecr_image_replicator.request.repository_settings import (
    RepositorySettings,
    parse_repository_settings,
)
from ecr_image_replicator.request.retry_settings import parse_retries
from ecr_image_replicator.request.roles import AssumedRole
from ecr_image_replicator.request.signature_key import parse_signature_key
from ecr_image_replicator.retries import RetryPolicy

if TYPE_CHECKING:
    from ecr_image_replicator.model.manifests import Descriptor

#: Properties of CloudFormation itself, and those without a meaning for the replication.
_IGNORED: Final = ("ServiceToken", "ServiceTimeout", "Trigger")
KNOWN_PROPERTIES: Final = tuple(PROPERTY_NAMES.values())
_MAX_TAGS: Final = 100
#: AWS STS API reference, AssumeRole.
_EXTERNAL_ID: Final = r"[A-Za-z0-9_+=,.@:/-]{2,1224}"


class Referrers(Enum):
    """Whether signatures, SBOMs and attestations are copied too."""

    IGNORED = "false"
    COPIED = "true"
    REQUIRED = "required"


class OnDelete(Enum):
    """What the deletion of a resource does to its tags."""

    RETAIN = "Retain"
    UNTAG = "Untag"


@dataclass(frozen=True, slots=True)
class UntagRequest:
    """The deletion of a resource with OnDelete Untag.

    Attributes
    ----------
    destination
        The physical resource ID: the resource's own tag and the digest that it pointed at.
    digest
        The same digest.
    tags
        The further tags of the resource.
    destination_credentials, destination_role, retry_policy
        As in `ReplicationRequest`.
    """

    destination: ImageReference
    digest: Digest
    tags: tuple[str, ...]
    destination_credentials: str | None = field(default=None, repr=False)
    destination_role: AssumedRole | None = None
    retry_policy: RetryPolicy = field(default_factory=RetryPolicy)

    @property
    def all_tags(self) -> tuple[str, ...]:
        """Every tag to remove, the resource's own first."""
        return (self.destination.tag, *self.tags)


@dataclass(frozen=True, slots=True)
class ReplicationRequest:
    """The parsed properties of one resource.

    Attributes
    ----------
    source
        The image to copy.
    destination
        Where it goes; its tag is the resource's own.
    tags
        Further tags of the same content, without duplicates and without the destination's own.
    source_credentials, destination_credentials
        The property's text: ``user:password``, or the ARN or name of a secret; None without it.
    source_role, destination_role
        For ECR, S3 and the secret of that endpoint; None for the function's own role.
    platforms
        The platforms chosen by property; empty without a choice.
    platforms_setting
        The property that chooses them, for messages.
    copies_index
        Whether the whole index is copied, byte for byte.
    arch_tags
        A tag for each platform's own manifest.
    referrers
        Whether signatures, SBOMs and attestations are copied too.
    format
        The format that manifests are converted to; None when they stay as they are.
    compression
        ``gzip``, ``zstd`` or ``none``, for archive layers that are stored uncompressed.
    new_repository
        The settings of a missing ECR repository; None when it is not created.
    retry_policy
        For every request.
    signature_key
        A PEM public key or a KMS key's ARN; None when signatures are not verified.
    dry_run
        Whether the changes are planned and not made.
    most_streams
        A lower limit of parallel blobs, set by a continuation; no property sets it.
    made_layers
        The blobs that an earlier invocation made of an archive's layers, by their diff_ids; no
        property sets it.
    """

    source: ImageReference | ArchiveReference
    destination: ImageReference
    tags: tuple[str, ...] = ()
    source_credentials: str | None = field(default=None, repr=False)
    destination_credentials: str | None = field(default=None, repr=False)
    source_role: AssumedRole | None = None
    destination_role: AssumedRole | None = None
    platforms: tuple[Platform, ...] = ()
    platforms_setting: Setting = Setting.PLATFORMS
    copies_index: bool = False
    arch_tags: Mapping[Platform, str] = field(default_factory=dict, hash=False)
    referrers: Referrers = Referrers.IGNORED
    format: ManifestFormat | None = None
    compression: str = "gzip"
    new_repository: RepositorySettings | None = None
    retry_policy: RetryPolicy = field(default_factory=RetryPolicy)
    signature_key: str | None = None
    dry_run: bool = False
    most_streams: int | None = None
    made_layers: Mapping[Digest, Descriptor] = field(default_factory=dict, hash=False)

    @property
    def all_tags(self) -> tuple[str, ...]:
        """Every tag of the content, the destination's own first."""
        return (self.destination.tag, *self.tags)

    @property
    def every_tag(self) -> tuple[str, ...]:
        """Every tag of the destination, those of single platforms included."""
        return (*self.all_tags, *self.arch_tags.values())

    @property
    def needs_source_referrers(self) -> bool:
        """Whether referrers or signatures of the source are read."""
        return self.referrers is not Referrers.IGNORED or self.signature_key is not None


def parse_request(
    properties: Mapping[str, Any], *, accepts_local_archives: bool = False
) -> ReplicationRequest:
    """Parse the properties of a resource.

    Parameters
    ----------
    accepts_local_archives
        Whether the source may be a local file; never in the function, whose files it would read.

    Raises
    ------
    RequestError
        The message names the property and quotes its value, unless it may be secret.
    """
    _reject_unknown(properties)
    destination = _parse_destination(read_required(properties, Setting.DESTINATION))
    platforms, copies_index = parse_platforms(properties)
    tags = _parse_tags(properties, destination.tag)
    referrers, signature_key = _parse_referrers(properties), parse_signature_key(properties)
    on_delete = [each.value for each in OnDelete]
    read_choice(properties, Setting.ON_DELETE, on_delete, OnDelete.RETAIN.value)
    text = read_required(properties, Setting.SOURCE)
    is_local = accepts_local_archives and is_local_archive(text)
    source = parse_as(Setting.SOURCE, parse_local_archive if is_local else _parse_source, text)
    if isinstance(source, ArchiveReference):
        _check_archive(source, referrers, signature_key)
    return ReplicationRequest(
        source=source,
        destination=destination,
        tags=tags,
        source_credentials=read_text(properties, Setting.SOURCE_CREDENTIALS, secret=True),
        destination_credentials=read_text(properties, Setting.DESTINATION_CREDENTIALS, secret=True),
        source_role=_parse_role(properties, Setting.SOURCE_ROLE, Setting.SOURCE_EXTERNAL_ID),
        destination_role=_parse_role(
            properties, Setting.DESTINATION_ROLE, Setting.DESTINATION_EXTERNAL_ID
        ),
        platforms=platforms,
        platforms_setting=choosing_setting(properties),
        copies_index=copies_index,
        arch_tags=parse_architecture_tags(properties, taken=(destination.tag, *tags)),
        referrers=referrers,
        format=_parse_format(properties, is_archive=isinstance(source, ArchiveReference)),
        compression=read_choice(properties, Setting.COMPRESSION, ("gzip", "zstd", "none"), "gzip"),
        new_repository=parse_repository_settings(properties),
        retry_policy=parse_retries(properties),
        signature_key=signature_key,
        dry_run=read_boolean(properties, Setting.DRY_RUN),
    )


def parse_untagging(
    physical_resource_id: str, properties: Mapping[str, Any]
) -> UntagRequest | None:
    """Return the tags that a deletion removes; None when it removes none.

    Only the properties that a deletion needs are read, so that a resource with other invalid
    properties can be deleted. A physical ID that no replication returned removes nothing.

    Raises
    ------
    RequestError
        One of the properties that a deletion needs is malformed.
    """
    on_delete = str(find_value(properties, Setting.ON_DELETE) or "")
    if on_delete.strip().lower() != OnDelete.UNTAG.value.lower():
        return None
    try:
        destination = parse_image_reference(physical_resource_id)
    except RequestError:
        return None
    digest = destination.digest
    if digest is None or str(destination) != physical_resource_id or not destination.tag:
        return None
    return UntagRequest(
        destination=destination,
        digest=digest,
        # a dry run put none of these; the physical ID is that of the resource before it
        tags=() if _is_dry_run(properties) else _parse_tags(properties, destination.tag),
        destination_credentials=read_text(properties, Setting.DESTINATION_CREDENTIALS, secret=True),
        destination_role=_parse_role(
            properties, Setting.DESTINATION_ROLE, Setting.DESTINATION_EXTERNAL_ID
        ),
        retry_policy=parse_retries(properties),
    )


def _is_dry_run(properties: Mapping[str, Any]) -> bool:
    return str(find_value(properties, Setting.DRY_RUN) or "").strip().lower() == "true"


def _reject_unknown(properties: Mapping[str, Any]) -> None:
    for name in properties:
        if name not in KNOWN_PROPERTIES and name not in _IGNORED:
            near = find_similar(str(name), (*KNOWN_PROPERTIES, *_IGNORED))
            known = ", ".join(KNOWN_PROPERTIES)
            hint = f"Did you mean '{near}'?" if near else f"Use one of {known}."
            raise RequestError(f"unknown property {quote(name)}", hint=hint)


def _parse_source(text: str) -> ImageReference | ArchiveReference:
    if is_archive_reference(text):
        return parse_archive_reference(text)
    if is_explicitly_local(text):
        raise InvalidReferenceError(
            f"invalid reference {quote(text)}: only the command line accepts local archives",
            hint="Upload the archive to S3 and use s3://bucket/key.",
        )
    return parse_image_reference(text)


def _parse_destination(text: str) -> ImageReference:
    hint = "Write the registry's host and the repository."
    if is_archive_reference(text):
        raise invalid(Setting.DESTINATION, f"{quote(text)} is an archive", hint=hint)
    destination = parse_as(Setting.DESTINATION, parse_image_reference, text)
    if destination.digest is not None:
        raise invalid(
            Setting.DESTINATION,
            f"{quote(text)} has a digest, which the content determines",
            hint="Replace the digest by a tag.",
        )
    if "/" not in text.partition("://")[2] and "/" not in text.partition("://")[0]:
        raise invalid(Setting.DESTINATION, f"{quote(text)} is not host/repository:tag", hint=hint)
    return destination


def _parse_tags(properties: Mapping[str, Any], own: str) -> tuple[str, ...]:
    setting = Setting.DESTINATION_TAGS
    tags = [parse_tag(setting, tag) for tag in read_texts(properties, setting)]
    if len(tags) > _MAX_TAGS:
        raise invalid(setting, f"{len(tags)} tags, at most {_MAX_TAGS} are allowed")
    return tuple(tag for tag in dict.fromkeys(tags) if tag != own)


def _parse_role(
    properties: Mapping[str, Any], role: Setting, external: Setting
) -> AssumedRole | None:
    arn, external_id = read_text(properties, role), read_text(properties, external)
    if arn is None:
        if external_id is not None:
            raise RequestError(role, " is required with ", external)
        return None
    if not re.fullmatch(r"arn:[a-z-]+:iam::[0-9]*:role/[!-~]+", arn):
        raise invalid(role, f"{quote(arn)} is not the ARN of a role")
    if external_id is not None and not re.fullmatch(_EXTERNAL_ID, external_id):
        raise invalid(external, "STS accepts 2 to 1224 letters, digits and _+=,.@:/-")
    return AssumedRole(arn, external_id or "")


def _check_archive(
    source: ArchiveReference, referrers: Referrers, signature_key: str | None
) -> None:
    if referrers is Referrers.IGNORED and signature_key is None:
        return
    copies = referrers is not Referrers.IGNORED
    setting = Setting.COPY_REFERRERS if copies else Setting.VERIFY_SIGNATURE_KEY
    raise RequestError(
        "invalid ",
        setting,
        f": {source} is an archive, which has no referrers and signatures",
        hint=("Remove ", setting, "."),
    )


def _parse_format(properties: Mapping[str, Any], *, is_archive: bool) -> ManifestFormat | None:
    choices = [each.value for each in ManifestFormat]
    name = read_choice(properties, Setting.FORMAT, choices, "")
    compression = str(find_value(properties, Setting.COMPRESSION) or "").strip().lower()
    if is_archive and compression == "zstd" and name == ManifestFormat.DOCKER.value:
        raise RequestError(
            "invalid ",
            Setting.COMPRESSION,
            ": zstd cannot be combined with ",
            Setting.FORMAT,
            " docker",
            hint="Use gzip.",
        )
    return ManifestFormat(name) if name else None


def _parse_referrers(properties: Mapping[str, Any]) -> Referrers:
    setting = Setting.COPY_REFERRERS
    if isinstance(find_value(properties, setting), str):
        choices = [each.value for each in Referrers]
        return Referrers(read_choice(properties, setting, choices, Referrers.IGNORED.value))
    return Referrers.COPIED if read_boolean(properties, setting) else Referrers.IGNORED
