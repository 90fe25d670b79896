"""Public keys of asymmetric KMS keys (AWS KMS API, GetPublicKey)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecr_image_replicator.aws.clients import AwsEndpoint
from ecr_image_replicator.aws.operations import Operation
from ecr_image_replicator.errors import AwsError, RequestError, Setting

if TYPE_CHECKING:
    from ecr_image_replicator.aws.clients import AwsCaller


def fetch_public_key(arn: str, caller: AwsCaller) -> bytes:
    """Read the public half of a signing key, as DER (RFC 5280, SubjectPublicKeyInfo).

    Parameters
    ----------
    arn
        Of the key or its alias; the call goes to the ARN's region.

    Raises
    ------
    AwsError
        The key cannot be read.
    RequestError
        The key is not for signatures.
    OutOfTimeError
        The deadline has passed.
    """
    endpoint = AwsEndpoint(region=arn.split(":")[3])
    try:
        response = caller.call(Operation.READ_PUBLIC_KEY, {"KeyId": arn}, endpoint)
    except AwsError as error:
        hint = f"Allow {error.action} on the key." if error.is_denied else error.hint
        raise AwsError(
            f"cannot read the public key of {arn} in ",
            Setting.VERIFY_SIGNATURE_KEY,
            f": {error.action} failed: {error.reason}",
            action=error.action,
            code=error.code,
            reason=error.reason,
            hint=hint,
        ) from error
    usage = response.get("KeyUsage")
    if usage != "SIGN_VERIFY":
        raise RequestError(
            "invalid ",
            Setting.VERIFY_SIGNATURE_KEY,
            f": the KMS key {arn} has the usage {usage or 'unknown'}",
            hint="Use an asymmetric key with the usage SIGN_VERIFY.",
        )
    content: bytes = response.get("PublicKey", b"")
    return content
