"""Benchmarks of the function, the command line and other programs; see README.md.

Reading order: `__main__` (the sections), `rows` (what is measured), `measuring` (how a row is
measured), `functions` and `programs` (what runs), `artifact` and `quota` (how Lambda runs it),
`registries`, `delay` and `images` (what it runs on), `tables` and `report` (what is printed).
`floor` is the lower bound of a copy. `coldstart`, `size`, `command_start`, `mirror`, `archive`
(with `archive_files`), `memory` (with `zeros`), `longlayer` and `instructions` (with `hotpath`) are
sections of their own.
"""
