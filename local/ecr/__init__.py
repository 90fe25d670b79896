"""Amazon ECR on loopback: its registries' manners and the API beside them.

Reading order: `hosts` and `callers` say what is asked for and by whom; `repositories` and
`registry` hold one account's registry in one region; `quirks` are its switches; `authentication`
and `policy` make it behave over the registry protocol; `control_plane` and the `…_operations`
answer the API; `service` has all registries, behind the hosts' names.
"""

from local.ecr.callers import Caller
from local.ecr.errors import EcrError
from local.ecr.quirks import Manners
from local.ecr.registry import ApiCall, EcrRegistry
from local.ecr.repositories import Repository
from local.ecr.service import EcrService

__all__ = ["ApiCall", "Caller", "EcrError", "EcrRegistry", "EcrService", "Manners", "Repository"]
