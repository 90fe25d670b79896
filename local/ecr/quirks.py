"""Differences between ECR and the specification or its own guide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from local.denials import Denials
from local.registry import Store


@dataclass(slots=True)
class EcrQuirks:
    """The behaviour of one registry. Can be changed between requests.

    Attributes
    ----------
    expired_token_status
        403 with DENIED and no challenge, as clients report, or 401 as in the specification.
    drops_uploads_to_missing_repositories
        The connection is closed without a response to the upload's POST, instead of 404
        NAME_UNKNOWN.
    drops_denied_uploads
        The same if `ecr:InitiateLayerUpload` is denied, instead of 403 DENIED.
    put_images_per_second
        Rate limit of manifests, above which the status is 429; None for no limit.
    rejects_bodies_without_media_type
        405 UNSUPPORTED for OCI manifests without `mediaType`.
    creates_on_push
        The prefix of the repository names that a push creates, from a repository creation template
        for CREATE_ON_PUSH; None for no such template.
    sends_digests
        Whether to send Docker-Content-Digest.
    missing_layers_code
        The error code for a manifest with missing layers. The second value is from a
        trace (mapbox/ecs-conex#50).
    pull_through
        Pull-through cache rules: upstream registries by repository prefix.
    archived
        Digests of images in the archive storage class.
    denials
        IAM actions that are denied to all callers, or for their next calls.
    throttled_actions
        How many of the next API calls of an action fail with ThrottlingException.
    """

    expired_token_status: Literal[401, 403] = 403
    drops_uploads_to_missing_repositories: bool = False
    drops_denied_uploads: bool = False
    put_images_per_second: float | None = 10
    rejects_bodies_without_media_type: bool = False
    creates_on_push: str | None = None
    sends_digests: bool = True
    missing_layers_code: Literal["MANIFEST_BLOB_UNKNOWN", "BLOB_UPLOAD_UNKNOWN"] = (
        "MANIFEST_BLOB_UNKNOWN"
    )
    pull_through: Mapping[str, Store] = field(default_factory=dict)
    archived: set[str] = field(default_factory=set)
    denials: Denials = field(default_factory=Denials)
    throttled_actions: dict[str, int] = field(default_factory=dict)

    @property
    def denied_actions(self) -> set[str]:
        """The IAM actions, such as `ecr:PutImage`, that are denied to all callers."""
        return self.denials.actions

    @denied_actions.setter
    def denied_actions(self, actions: set[str]) -> None:
        self.denials.actions = actions
