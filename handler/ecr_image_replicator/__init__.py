"""The engine: copies container images between registries, without Lambda or CloudFormation.

Public API: ``request.parsing.parse_request`` (properties to a request),
``request.settings.Settings``, ``deadline.Deadline``, ``copy.progress.LoggedProgress``,
``replicate.Replicator`` and the tree of ``errors``.

Reading order: `request.parsing`; `replicate` (the use case) and `pipeline` (its stages);
`endpoints` (registries, archives and AWS as source and destination); `copy.state`, `copy.resolve`,
`copy.plan`, `copy.transfer` (what is there, what is requested, what is missing, the copy);
`copy.ports`, implemented by `registry`, `archive`, `ecr` and `aws`; `referrers`; `model`.
"""
