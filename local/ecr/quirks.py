"""The points on which ECR differs from the specification, from day to day, or from its guide."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(slots=True)
class Manners:
    """How one registry behaves; may be changed between requests.

    Attributes
    ----------
    expired_token_status
        403 with DENIED and no challenge is what clients have met; 401 is what the specification
        would have.
    drops_uploads_to_missing_repositories
        No answer at all to the upload's POST, in place of 404 NAME_UNKNOWN.
    drops_denied_uploads
        The same where `ecr:InitiateLayerUpload` is denied, in place of 403 DENIED.
    put_images_per_second
        Further manifests are answered 429; None for no limit.
    refuses_bodies_without_media_type
        405 UNSUPPORTED for OCI manifests that do not name their own type.
    creates_on_push
        What the names of repositories begin with that a push may make, as a creation template for
        CREATE_ON_PUSH has it; None for no such template.
    states_digests
        Docker-Content-Digest is answered.
    denied_actions
        IAM actions, `ecr:PutImage`, that nobody may perform.
    throttled_actions
        How many of an action's next API calls are answered ThrottlingException.
    """

    expired_token_status: Literal[401, 403] = 403
    drops_uploads_to_missing_repositories: bool = False
    drops_denied_uploads: bool = False
    put_images_per_second: float | None = 10
    refuses_bodies_without_media_type: bool = False
    creates_on_push: str | None = None
    states_digests: bool = True
    denied_actions: set[str] = field(default_factory=set)
    throttled_actions: dict[str, int] = field(default_factory=dict)
