"""An OCI registry on loopback (distribution specification 1.1).

Reading order: `digests`, `errors`; `store` and `uploads` keep content and know no HTTP; `routes`
names what a request wants; `blobs`, `blob_uploads`, `manifests` and `listings` do it; `policy` is
where a kind of registry differs, `quirks` are those of real ones; `authentication` and `tokens`
authorize requests;
`application` composes these into request -> response; `server` puts that on a port.
"""

from local.registry.authentication import (
    Access,
    Authentication,
    BasicAuthentication,
    NoAuthentication,
)
from local.registry.errors import ErrorCode, RegistryError
from local.registry.policy import Policy, SpecificationPolicy
from local.registry.quirks import Quirks
from local.registry.redirects import BlobRedirects
from local.registry.routes import Action, Operation
from local.registry.server import RegistryServer
from local.registry.store import Manifest, Store, UnknownContentError
from local.registry.tokens import BearerAuthentication, TokenService
from local.registry.uploads import OpenUpload
from local.web import AccessLogEntry, DroppedConnectionError

__all__ = [
    "Access",
    "AccessLogEntry",
    "Action",
    "Authentication",
    "BasicAuthentication",
    "BearerAuthentication",
    "BlobRedirects",
    "DroppedConnectionError",
    "ErrorCode",
    "Manifest",
    "NoAuthentication",
    "OpenUpload",
    "Operation",
    "Policy",
    "Quirks",
    "RegistryError",
    "RegistryServer",
    "SpecificationPolicy",
    "Store",
    "TokenService",
    "UnknownContentError",
]
