"""Public keys of asymmetric KMS keys (AWS KMS API, GetPublicKey)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecr_image_replicator.aws.clients import AwsEndpoint
from ecr_image_replicator.aws.operations import Operation
from ecr_image_replicator.errors import AwsError, RequestError

if TYPE_CHECKING:
    from ecr_image_replicator.aws.clients import AwsCaller


def fetch_public_key(arn: str, caller: AwsCaller) -> bytes:
    """Read the public half of a signing key, as DER (RFC 5280, SubjectPublicKeyInfo).

    Parameters
    ----------
    arn
        Of the key or of its alias; it is asked for in the ARN's region.

    Raises
    ------
    RequestError
        It cannot be read, or it does not sign.
    OutOfTimeError
        The deadline has passed.
    """
    place = AwsEndpoint(region=arn.split(":")[3])
    try:
        answer = caller.call(Operation.READ_PUBLIC_KEY, {"KeyId": arn}, place)
    except AwsError as error:
        hint = f"; {caller.identity} needs {error.action} on it" if error.is_denied else ""
        raise RequestError(f"VerifySignatureKey {arn} cannot be read: {error}{hint}") from error
    usage = answer.get("KeyUsage")
    if usage != "SIGN_VERIFY":
        raise RequestError(
            f"VerifySignatureKey {arn} is a key for {usage or 'something else than signing'}; give "
            "an asymmetric one for SIGN_VERIFY"
        )
    content: bytes = answer["PublicKey"]
    return content
