"""The cloud on loopback: what the replicator talks to, for the demo and the tests.

Reading order: `web` serves HTTP/1.1 on a loopback port; `registry` is an OCI registry on top of
it; `cloudformation` takes a custom resource's answers; `certificates` makes both reachable by
TLS; `images` builds what is copied. `python -m local` starts all of it.
"""
