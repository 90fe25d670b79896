"""Archives made to order: what `docker save` of several ages and OCI tools write.

Reading order: `files` puts members into a tar, `large` makes layers of any size on disk,
`docker` and `oci` write the two kinds of archive. Equal arguments give equal bytes.
"""

from local.archives.docker import DockerAge, SavedImage, build_config, build_docker_save
from local.archives.files import ArchiveFile, TarFormat, write_tar
from local.archives.large import LargeContent, LayerFile, build_large_layer
from local.archives.oci import build_oci_layout

__all__ = [
    "ArchiveFile",
    "DockerAge",
    "LargeContent",
    "LayerFile",
    "SavedImage",
    "TarFormat",
    "build_config",
    "build_docker_save",
    "build_large_layer",
    "build_oci_layout",
    "write_tar",
]
