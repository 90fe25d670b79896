"""Archives for tests: `docker save` of several versions, OCI layouts, and other programs' archives.

Reading order: `files` writes tar archives, `large` writes layers of any size to disk, `docker` and
`oci` write the two formats, `programs` writes them as other programs do. Equal arguments give equal
bytes.
"""

from local.archives.docker import DockerSaveFormat, SavedImage, build_config, build_docker_save
from local.archives.files import ArchiveFile, TarFormat, write_tar
from local.archives.large import LargeContent, LayerFile, build_large_layer
from local.archives.oci import build_oci_layout
from local.archives.programs import Program, build_archive_of, build_cosign_save, build_export

__all__ = [
    "ArchiveFile",
    "DockerSaveFormat",
    "LargeContent",
    "LayerFile",
    "Program",
    "SavedImage",
    "TarFormat",
    "build_archive_of",
    "build_config",
    "build_cosign_save",
    "build_docker_save",
    "build_export",
    "build_large_layer",
    "build_oci_layout",
    "write_tar",
]
