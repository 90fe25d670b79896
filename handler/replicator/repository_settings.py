"""How a missing ECR repository is to be made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RepositorySettings:
    """What CreateRepository asks for; the names of values are ECR's.

    Attributes
    ----------
    image_tag_mutability
        MUTABLE, IMMUTABLE, IMMUTABLE_WITH_EXCLUSION or MUTABLE_WITH_EXCLUSION.
    encryption_type
        AES256, KMS or KMS_DSSE.
    kms_key
        A key's ARN or alias, "" for ECR's own.
    lifecycle_policy, repository_policy
        JSON text, "" for none.
    """

    image_tag_mutability: str = "MUTABLE"
    scan_on_push: bool = False
    encryption_type: str = "AES256"
    kms_key: str = ""
    lifecycle_policy: str = ""
    repository_policy: str = ""
    tags: Mapping[str, str] = field(default_factory=dict, hash=False)
