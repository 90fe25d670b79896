"""The engine: copies container images between registries; usable without Lambda or CloudFormation.

Reading order: `request` (what is asked for) and `references` (names of images); `replication`
(the use case), `endpoints` (both ends), `content` (which manifests are meant), `plan` (what moves),
`transfer` (how it moves); `ports` (what an end must be able to do), implemented by `registry`, with
`ecr_destination` and `aws` where an end is AWS's, and by `archive`, whose images `assembly` makes;
underneath `manifests`, `digests`, `platforms`, `retries`, `deadline`, `errors`. `rehearsal` is the
destination of a dry run; `shell` is the engine's use from a command line.
"""
