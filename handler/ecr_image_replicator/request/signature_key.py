"""The property VerifySignatureKey."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from ecr_image_replicator.errors import Setting
from ecr_image_replicator.request.properties import invalid, quote, read_text

if TYPE_CHECKING:
    from collections.abc import Mapping

_KMS_KEY: Final = r"arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:(key|alias)/[A-Za-z0-9/_-]+"


def parse_signature_key(properties: Mapping[str, Any]) -> str | None:
    """Return the text of a PEM public key or the ARN of a KMS key; None without the property.

    Raises
    ------
    RequestError
        It is neither. A value that may be a private key is not quoted.
    """
    setting = Setting.VERIFY_SIGNATURE_KEY
    text = read_text(properties, setting, secret=True)
    if (
        text is None
        or text.startswith("-----BEGIN PUBLIC KEY-----")
        or re.fullmatch(_KMS_KEY, text)
    ):
        return text
    # a private key pasted here by mistake must not appear in the message
    shown = quote(text) if text.startswith("arn:") else "the value"
    raise invalid(
        setting,
        f"{shown} is neither a public key nor the ARN of a KMS key",
        hint="Use a PEM public key (-----BEGIN PUBLIC KEY-----) or the ARN of an asymmetric KMS "
        "key or alias.",
    )
