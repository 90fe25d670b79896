"""Amazon ECR on loopback: registries and the ECR API.

Reading order: `hosts` and `callers` parse host names and principals; `repositories` and `registry`
are one account's registry in one region; `quirks` has its settings; `authentication` and `policy`
implement the registry protocol's differences; `control_plane` and the `…_operations` implement the
API; `service` finds the registry for a host name.
"""

from local.ecr.callers import Caller
from local.ecr.errors import EcrError
from local.ecr.quirks import EcrQuirks
from local.ecr.registry import ApiCall, EcrRegistry
from local.ecr.repositories import Repository
from local.ecr.service import EcrService

__all__ = ["ApiCall", "Caller", "EcrError", "EcrQuirks", "EcrRegistry", "EcrService", "Repository"]
