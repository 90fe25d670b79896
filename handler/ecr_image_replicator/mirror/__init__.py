"""Mirrors: select images, compare them with the destination and copy the changed ones.

Reading order: `choose` (which tags), `compare` (which of them differ), `preparation` (both, for
every entry of a mirror), `worker` (copies one repository's images), `report` (the results),
`known` (digests of earlier runs), `local_run` (a whole mirror in one process) and `steps`
(the same in several invocations).
"""
