"""Programs that push content to a registry and pull it.

Each program uses a separate storage directory and no user configuration.
"""

from tests.interop.makers.oras import Oras
from tests.interop.makers.program import Kind, Maker, Target
from tests.interop.makers.skopeo import Skopeo
from tests.interop.makers.storages import Buildah, Podman, Storage
from tests.interop.makers.umoci import Umoci

__all__ = ["Buildah", "Kind", "Maker", "Oras", "Podman", "Skopeo", "Storage", "Target", "Umoci"]
