"""The cloud on loopback: the services that the replicator uses, for the demo and the tests.

Reading order: `web` is an HTTP/1.1 server on a loopback port; `registry` is an OCI registry on top
of it; `cloudformation` receives the responses of a custom resource; `certificates` issues the TLS
certificates of all servers; `images` builds images, and `archives` the tar archives that `objects`
serves as S3 does. `ecr` and `dockerhub` are registries with those services' quirks, and
`aws_services` is the rest of AWS. `hosts` and `proxy` make them reachable by their real names, and
`aws` combines all of this. `python -m local` starts it.
"""
