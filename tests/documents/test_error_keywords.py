"""Each error class has keywords, and each message of the class contains one of them."""

from __future__ import annotations

from typing import Final

import pytest
from tests.documents.failures import FAILURES, Failure
from tests.documents.scene import Scene
from tests.documents.test_troubleshooting import tree

from ecr_image_replicator import errors
from ecr_image_replicator.errors import ReplicationError
from ecr_image_replicator.request.properties import property_name

KEYWORDS: Final[dict[type[ReplicationError], tuple[str, ...]]] = {
    errors.RequestError: ("invalid", "required", "unknown property"),
    errors.NotAllowedError: ("not allowed",),
    errors.NotFoundError: ("not found", "does not exist"),
    errors.PlatformNotFoundError: ("not found", "does not exist"),
    errors.ImageNotFoundError: ("not found", "does not exist"),
    errors.InvalidDigestError: ("invalid",),
    errors.InvalidManifestError: ("invalid",),
    errors.InvalidArchiveError: ("invalid",),
    errors.DigestMismatchError: ("digest mismatch",),
    errors.SignatureError: ("signature",),
    errors.DeniedError: ("access denied", "authentication failed"),
    errors.ThrottledError: ("rate limit", "throttled"),
    errors.UnavailableError: ("cannot connect", "timed out", "certificate", "unavailable"),
    errors.MissingContentError: ("missing",),
    errors.ProtocolError: ("invalid response",),
    errors.ReferrersError: ("referrer",),
    errors.CredentialsError: ("not found", "access denied", "invalid", "failed"),
    errors.AwsError: ("not found", "access denied", "invalid", "failed"),
    errors.OutOfTimeError: ("timed out",),
}
#: Base classes, errors of requests that are retried, and errors that another error replaces.
WITHOUT_KEYWORDS: Final = {
    errors.ReplicationError,
    errors.ContentError,
    errors.RegistryError,
    errors.TransientError,
    errors.StoppedError,
}


def keywords_of(kind: type[ReplicationError]) -> tuple[str, ...]:
    """Return the keywords of a class or of its nearest base class; none for `WITHOUT_KEYWORDS`."""
    for each in kind.__mro__:
        if each in WITHOUT_KEYWORDS:
            return ()
        if each in KEYWORDS:
            return KEYWORDS[each]
    raise AssertionError(kind)


def test_every_error_class_has_keywords_or_is_internal() -> None:
    for kind in tree():
        keywords_of(kind)


@pytest.mark.parametrize("failure", [failure for _, failure in FAILURES])
def test_a_message_has_a_keyword_of_its_class(scene: Scene, failure: Failure) -> None:
    with pytest.raises(ReplicationError) as caught:
        failure(scene)
    message = caught.value.render(property_name)
    expected = keywords_of(type(caught.value))
    if "immutable" in message:
        expected = ("immutable",)
    assert not expected or any(each in message for each in expected), message
