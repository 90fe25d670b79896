"""Programs that push content to a registry and pull it.

Each is run in a storage of its own below a directory, without the configuration of the user.
"""

from tests.interop.makers.oras import Oras
from tests.interop.makers.program import Kind, Maker, Target
from tests.interop.makers.skopeo import Skopeo
from tests.interop.makers.storages import Buildah, Podman, Storage
from tests.interop.makers.umoci import Umoci

__all__ = ["Buildah", "Kind", "Maker", "Oras", "Podman", "Skopeo", "Storage", "Target", "Umoci"]
