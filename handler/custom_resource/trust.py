"""The certificate authorities that are trusted when a response is delivered."""

from __future__ import annotations

import functools
import os
import ssl
from pathlib import Path
from typing import Final

#: OpenSSL's own two, and those that name a bundle each.
_VARIABLES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE")


def response_tls() -> ssl.SSLContext:
    """Return the TLS context for responses, made once for each setting of the variables."""
    return _context(*map(os.environ.get, _VARIABLES))


@functools.lru_cache(maxsize=1)
def _context(_file: str | None, _directory: str | None, *bundles: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    for bundle in bundles:
        if bundle and Path(bundle).is_file():
            context.load_verify_locations(cafile=bundle)
    return context
