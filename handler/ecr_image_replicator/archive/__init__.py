"""Images in tar archives: `docker save` of every version, and OCI layouts.

Reading order: `source` (an archive as an image's source), `contents` (which description of the
image counts), `docker_save`, `oci_layout` and `choice` (the descriptions), `image_builder` (builds
manifests), `layer_proofs` (which blobs at the destination are reused), `layers` (blobs of stored
layers), `tar_index` and `tar_headers` (where the files are), `forward_reader` and `compression`
(compressed archives). Archives are read through the port `RangedReader`, never written to disk.
"""
