"""Sets of images: which ones, what differs, and copying what does.

Reading order: `choose` (which tags), `compare` (which of them differ), `preparation` (both, for
every entry of a mirror), `worker` (copies one repository's images), `report` (what came of it),
`known` (digests that an earlier run saw), `local_run` (a whole mirror in one process) and `steps`
(the same in several invocations).
"""
