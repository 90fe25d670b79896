"""The cloud on loopback: what the replicator talks to, for the demo and the tests.

Reading order: `web` serves HTTP/1.1 on a loopback port; `registry` is an OCI registry on top of
it; `cloudformation` takes a custom resource's answers; `certificates` makes both reachable by
TLS; `images` builds what is copied, and `archives` what is stored in tar archives, which `objects`
serves as S3 does. `ecr` and `dockerhub` are registries with manners of their own, `aws_services` is
the rest of AWS; `hosts` and `proxy` have them answer under their real names; `aws` puts these
together. `python -m local` starts all of it.
"""
