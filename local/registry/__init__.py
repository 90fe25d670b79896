"""An OCI registry on loopback (distribution specification 1.1).

Reading order: `digests`, `errors`; `store` and `uploads` store content without HTTP; `routes`
parses operations; `blobs`, `blob_uploads`, `manifests` and `listings` perform them; `policy` is
the interface for registry differences, `quirks` has those of real registries; `authentication` and
`tokens` authorize requests; `application` combines these; `server` serves it on a port.
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
