"""How ECR differs from the specification, from its own guide, or between days."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from local.denials import Denials
from local.registry import Store


@dataclass(slots=True)
class EcrQuirks:
    """The behaviour of one registry; may be changed between requests.

    Attributes
    ----------
    expired_token_status
        403 with DENIED and no challenge is what clients report; the specification says 401.
    drops_uploads_to_missing_repositories
        The connection is closed without a response to the upload's POST, instead of 404
        NAME_UNKNOWN.
    drops_denied_uploads
        The same if `ecr:InitiateLayerUpload` is denied, instead of 403 DENIED.
    put_images_per_second
        More manifests are answered with 429; None for no limit.
    rejects_bodies_without_media_type
        405 UNSUPPORTED for OCI manifests without `mediaType`.
    creates_on_push
        The prefix of the repository names that a push creates, from a repository creation template
        for CREATE_ON_PUSH; None for no such template.
    states_digests
        Docker-Content-Digest is sent.
    missing_layers_code
        The code with which a manifest is rejected whose layers are missing; the second is from a
        trace (mapbox/ecs-conex#50).
    pull_through
        Upstream registries by the prefix of their repositories: pull-through cache rules.
    archived
        Digests of images in the archive storage class.
    denials
        IAM actions that are denied to everybody, or for their next calls.
    throttled_actions
        How many of an action's next API calls are answered with ThrottlingException.
    """

    expired_token_status: Literal[401, 403] = 403
    drops_uploads_to_missing_repositories: bool = False
    drops_denied_uploads: bool = False
    put_images_per_second: float | None = 10
    rejects_bodies_without_media_type: bool = False
    creates_on_push: str | None = None
    states_digests: bool = True
    missing_layers_code: Literal["MANIFEST_BLOB_UNKNOWN", "BLOB_UPLOAD_UNKNOWN"] = (
        "MANIFEST_BLOB_UNKNOWN"
    )
    pull_through: Mapping[str, Store] = field(default_factory=dict)
    archived: set[str] = field(default_factory=set)
    denials: Denials = field(default_factory=Denials)
    throttled_actions: dict[str, int] = field(default_factory=dict)

    @property
    def denied_actions(self) -> set[str]:
        """The IAM actions, `ecr:PutImage`, that are denied to everybody."""
        return self.denials.actions

    @denied_actions.setter
    def denied_actions(self, actions: set[str]) -> None:
        self.denials.actions = actions
