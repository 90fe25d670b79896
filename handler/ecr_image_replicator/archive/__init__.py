"""Images in tar archives: what `docker save` of every age writes, and OCI layouts.

Reading order: `source` (an archive as an image's source), `docker_save` and `oci_layout` (what is
in it), `choosing` (which image is meant), `layers` (blobs made of stored layers); `tar_index` and
`tar_headers` (where everything is), `forward` and `compression` (archives that are compressed as a
whole). Archives are read through the port `RangedReader`; nothing is written to disk.
"""
