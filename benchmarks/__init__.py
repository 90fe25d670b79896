"""Benchmarks of the function and of other programs; README.md explains the results.

Reading order: `rows` (what is measured), `measuring` (how a row is), `programs` (what runs),
`registries`, `delay` and `images` (what it runs on), `tables` (what is printed);
`floor` is what bytes cost at least. `coldstart`, `memory` (with `zeros`), `archive`, `size` and
`instructions` (with `hotpath`) are sections of their own.
"""
