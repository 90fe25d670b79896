"""A resource's properties, as CloudFormation delivers them, into one frozen request.

The properties are those of docs/resource-reference.md. What is unknown or of the wrong type is
refused by name before anything is read.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from ecr_image_replicator.errors import RequestError
from ecr_image_replicator.model.archive_references import (
    ArchiveReference,
    is_archive_reference,
    parse_archive_reference,
)
from ecr_image_replicator.model.digests import Digest
from ecr_image_replicator.model.platforms import Platform, is_all
from ecr_image_replicator.model.references import ImageReference, is_tag, parse_image_reference
from ecr_image_replicator.request.properties import (
    parse_as,
    read_boolean,
    read_choice,
    read_number,
    read_object,
    read_required,
    read_text,
    read_texts,
    refuse_unknown_keys,
    shown,
)
from ecr_image_replicator.request.repository_settings import (
    RepositorySettings,
    parse_repository_settings,
)
from ecr_image_replicator.request.roles import AssumedRole
from ecr_image_replicator.retries import RetryPolicy

if TYPE_CHECKING:
    from ecr_image_replicator.model.manifests import Descriptor

#: Put there by CloudFormation itself, or without meaning for the replication.
_IGNORED: Final = frozenset({"ServiceToken", "ServiceTimeout", "Trigger"})
KNOWN_PROPERTIES: Final = (
    "SrcImage",
    "DestImage",
    "DestTags",
    "SrcCreds",
    "DestCreds",
    "SrcRoleArn",
    "DestRoleArn",
    "SrcExternalId",
    "DestExternalId",
    "ImageArch",
    "Platforms",
    "CopyImageIndex",
    "ArchImageTags",
    "CopyReferrers",
    "Compression",
    "CreateRepository",
    "OnDelete",
    "RetryConfigs",
    "VerifySignatureKey",
    "DryRun",
)
_MAX_TAGS: Final = 100
#: AWS STS API reference, AssumeRole.
_EXTERNAL_ID: Final = re.compile(r"[A-Za-z0-9_+=,.@:/-]{2,1224}")
_KMS_KEY: Final = re.compile(r"arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:(key|alias)/[A-Za-z0-9/_-]+")
_RETRY_KEYS: Final = ("numAttempts", "baseDelay", "maxDelay")


class Referrers(Enum):
    """Whether signatures, SBOMs and attestations are copied too."""

    IGNORED = "false"
    COPIED = "true"
    REQUIRED = "required"


class OnDelete(Enum):
    """What a resource's deletion does to its tags."""

    RETAIN = "Retain"
    UNTAG = "Untag"


@dataclass(frozen=True, slots=True)
class UntagRequest:
    """What the deletion of a resource with OnDelete Untag asks for.

    Attributes
    ----------
    destination
        Of the physical id: the resource's own tag, and the digest that it was put on.
    tags
        Further ones that the resource put.
    """

    destination: ImageReference
    digest: Digest
    tags: tuple[str, ...]
    destination_credentials: str | None = field(default=None, repr=False)
    destination_role: AssumedRole | None = None
    retry_policy: RetryPolicy = field(default_factory=RetryPolicy)

    @property
    def all_tags(self) -> tuple[str, ...]:
        """Every tag that is to go, the resource's own first."""
        return (self.destination.tag, *self.tags)


@dataclass(frozen=True, slots=True)
class ReplicationRequest:
    """What one resource asks for.

    Attributes
    ----------
    source
        Where the image is.
    destination
        Where it goes; its tag is the resource's own.
    tags
        Further tags of the same content, without duplicates and without the destination's own.
    source_credentials, destination_credentials
        As the property says: ``user:password``, a secret's ARN or name; None for none.
    source_role, destination_role
        For that side's ECR, S3 and secret; None for the function's own.
    platforms
        Chosen by property; empty when none was.
    copies_index
        The whole index, byte for byte.
    arch_tags
        A tag for each platform's own manifest.
    compression
        ``gzip``, ``zstd`` or ``none``, for archive layers that are stored uncompressed.
    new_repository
        How to make a missing ECR repository; None when it is not to be made.
    retry_policy
        For every request.
    signature_key
        A PEM public key or a KMS key's ARN; None when signatures are not checked.
    dry_run
        Find out what would be done, and do none of it.
    most_streams
        Blobs in flight at most, when more were found to be too many; no property sets it.
    made_layers
        Blobs that were made of an archive's layers before, by their diff_ids; no property sets it.
    """

    source: ImageReference | ArchiveReference
    destination: ImageReference
    tags: tuple[str, ...] = ()
    source_credentials: str | None = field(default=None, repr=False)
    destination_credentials: str | None = field(default=None, repr=False)
    source_role: AssumedRole | None = None
    destination_role: AssumedRole | None = None
    platforms: tuple[Platform, ...] = ()
    copies_index: bool = False
    arch_tags: Mapping[Platform, str] = field(default_factory=dict, hash=False)
    referrers: Referrers = Referrers.IGNORED
    compression: str = "gzip"
    new_repository: RepositorySettings | None = None
    on_delete: OnDelete = OnDelete.RETAIN
    retry_policy: RetryPolicy = field(default_factory=RetryPolicy)
    signature_key: str | None = None
    dry_run: bool = False
    most_streams: int | None = None
    made_layers: Mapping[Digest, Descriptor] = field(default_factory=dict, hash=False)

    @property
    def all_tags(self) -> tuple[str, ...]:
        """Every tag that is to point at the content, the destination's own first."""
        return (self.destination.tag, *self.tags)


def parse_request(properties: Mapping[str, Any]) -> ReplicationRequest:
    """Read a resource's properties.

    Raises
    ------
    RequestError
        The sentence names the property and quotes its value, unless it may be secret.
    """
    _refuse_unknown(properties)
    destination = _parse_destination(read_required(properties, "DestImage"))
    platforms, copies_index = _parse_platforms(properties)
    tags = _parse_tags(properties, destination.tag)
    return ReplicationRequest(
        source=parse_as("SrcImage", _parse_source, read_required(properties, "SrcImage")),
        destination=destination,
        tags=tags,
        source_credentials=read_text(properties, "SrcCreds", secret=True),
        destination_credentials=read_text(properties, "DestCreds", secret=True),
        source_role=_parse_role(properties, "SrcRoleArn", "SrcExternalId"),
        destination_role=_parse_role(properties, "DestRoleArn", "DestExternalId"),
        platforms=platforms,
        copies_index=copies_index,
        arch_tags=_parse_arch_tags(properties, taken=(destination.tag, *tags)),
        referrers=_parse_referrers(properties),
        compression=read_choice(properties, "Compression", ("gzip", "zstd", "none"), "gzip"),
        new_repository=parse_repository_settings(properties),
        on_delete=OnDelete(
            read_choice(properties, "OnDelete", [each.value for each in OnDelete], "Retain")
        ),
        retry_policy=_parse_retries(properties),
        signature_key=_parse_signature_key(properties),
        dry_run=read_boolean(properties, "DryRun"),
    )


def parse_untagging(
    physical_resource_id: str, properties: Mapping[str, Any]
) -> UntagRequest | None:
    """Read what a deletion is to untag; None when it is nothing.

    Only the properties that matter for it are read, as a resource must be deletable whatever the
    others hold, and only a physical id that a replication has answered with counts.

    Raises
    ------
    RequestError
        One of the properties that matter is malformed.
    """
    if str(properties.get("OnDelete", "")).strip().lower() != OnDelete.UNTAG.value.lower():
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
        # a dry run put none of these; the physical id is of what was put before it
        tags=() if _is_dry_run(properties) else _parse_tags(properties, destination.tag),
        destination_credentials=read_text(properties, "DestCreds", secret=True),
        destination_role=_parse_role(properties, "DestRoleArn", "DestExternalId"),
        retry_policy=_parse_retries(properties),
    )


def _is_dry_run(properties: Mapping[str, Any]) -> bool:
    return str(properties.get("DryRun", "")).strip().lower() == "true"


def _refuse_unknown(properties: Mapping[str, Any]) -> None:
    for name in properties:
        if name not in KNOWN_PROPERTIES and name not in _IGNORED:
            near = difflib.get_close_matches(str(name), KNOWN_PROPERTIES, n=1, cutoff=0.5)
            hint = (
                f"the nearest is {near[0]}" if near else f"known are {', '.join(KNOWN_PROPERTIES)}"
            )
            raise RequestError(f"the property {shown(name)} is not known, {hint}")


def _parse_source(text: str) -> ImageReference | ArchiveReference:
    if is_archive_reference(text):
        return parse_archive_reference(text)
    return parse_image_reference(text)


def _parse_destination(text: str) -> ImageReference:
    destination = parse_as("DestImage", parse_image_reference, text)
    if destination.digest is not None:
        raise RequestError(
            f"DestImage {shown(text)} names a digest, which the content decides; give it a tag"
        )
    return destination


def _parse_tags(properties: Mapping[str, Any], own: str) -> tuple[str, ...]:
    tags = read_texts(properties, "DestTags")
    for tag in tags:
        _check_tag("DestTags", tag)
    if len(tags) > _MAX_TAGS:
        raise RequestError(f"DestTags has {len(tags)} tags; at most {_MAX_TAGS} are taken")
    return tuple(tag for tag in dict.fromkeys(tags) if tag != own)


def _check_tag(name: str, tag: object) -> str:
    if not isinstance(tag, str) or not is_tag(tag):
        raise RequestError(
            f"{name} has {shown(tag)}, which is not a tag: 1 to 128 letters, digits, '_', '.' "
            "and '-'"
        )
    return tag


def _parse_role(properties: Mapping[str, Any], name: str, external: str) -> AssumedRole | None:
    arn, external_id = read_text(properties, name), read_text(properties, external)
    if arn is None:
        if external_id is not None:
            raise RequestError(f"{external} is of use only together with {name}")
        return None
    if not arn.startswith("arn:") or ":role/" not in arn:
        raise RequestError(f"{name} {shown(arn)} is not the ARN of a role")
    if external_id is not None and not _EXTERNAL_ID.fullmatch(external_id):
        raise RequestError(
            f"{external} is not of the form that STS takes: 2 to 1224 letters, digits and _+=,.@:/-"
        )
    return AssumedRole(arn, external_id or "")


def _parse_platforms(properties: Mapping[str, Any]) -> tuple[tuple[Platform, ...], bool]:
    copies_index = read_boolean(properties, "CopyImageIndex")
    names = ["all" if is_all(name) else name for name in read_texts(properties, "Platforms")]
    architectures = read_texts(properties, "ImageArch")
    if names and architectures:
        raise RequestError("Platforms and ImageArch both choose platforms; give one of them")
    if len(architectures) > 1:
        raise RequestError(
            f"ImageArch takes one architecture, not {len(architectures)}; Platforms takes several"
        )
    if copies_index and (architectures or (names and names != ["all"])):
        name = "ImageArch" if architectures else "Platforms"
        raise RequestError(
            f"CopyImageIndex copies every platform and {name} chooses some; give one of them"
        )
    if "all" in names:
        if len(names) > 1:
            raise RequestError("Platforms has 'all' beside others; give 'all' alone")
        return (), True
    chosen_by = "ImageArch" if architectures else "Platforms"
    platforms = [parse_as(chosen_by, Platform.parse, name) for name in names or architectures]
    return tuple(dict.fromkeys(platforms)), copies_index


def _parse_arch_tags(
    properties: Mapping[str, Any], *, taken: tuple[str, ...]
) -> dict[Platform, str]:
    name = "ArchImageTags"
    tags = {
        parse_as(name, Platform.parse, str(platform)): _check_tag(name, tag)
        for platform, tag in read_object(properties, name).items()
    }
    for tag in tags.values():
        if tag in taken or list(tags.values()).count(tag) > 1:
            raise RequestError(
                f"{name} has the tag {tag}, which is asked for twice; a tag points at one manifest"
            )
    return tags


def _parse_signature_key(properties: Mapping[str, Any]) -> str | None:
    name = "VerifySignatureKey"
    text = read_text(properties, name)
    if text is None or text.startswith("-----BEGIN PUBLIC KEY-----") or _KMS_KEY.fullmatch(text):
        return text
    # a private key pasted here by mistake must not come back in the sentence
    shown_text = shown(text) if text.startswith("arn:") else "a text of another form"
    raise RequestError(
        f"{name} is {shown_text}; it is a public key in PEM (-----BEGIN PUBLIC KEY-----) or the "
        "ARN of an asymmetric KMS key or of its alias"
    )


def _parse_referrers(properties: Mapping[str, Any]) -> Referrers:
    name = "CopyReferrers"
    if isinstance(properties.get(name), str):
        choices = [each.value for each in Referrers]
        return Referrers(read_choice(properties, name, choices, Referrers.IGNORED.value))
    return Referrers.COPIED if read_boolean(properties, name) else Referrers.IGNORED


def _parse_retries(properties: Mapping[str, Any]) -> RetryPolicy:
    name = "RetryConfigs"
    values = read_object(properties, name)
    refuse_unknown_keys(values, name, _RETRY_KEYS)
    default = RetryPolicy()
    attempts = read_number(values, "numAttempts", name, default.attempts)
    if attempts != int(attempts) or not 1 <= attempts <= 20:
        raise RequestError(f"{name}.numAttempts is {attempts:g}; it is a whole number of 1 to 20")
    base = read_number(values, "baseDelay", name, default.base_delay_seconds)
    longest = read_number(values, "maxDelay", name, max(base, default.max_delay_seconds))
    if not 0 <= base <= longest <= 900:
        raise RequestError(
            f"{name} has a baseDelay of {base:g} and a maxDelay of {longest:g} seconds; they are "
            "0 to 900, and the base at most the maximum"
        )
    return RetryPolicy(int(attempts), base, longest)
