"""Our function measured beside other programs; README.md says how to read what comes out.

Reading order: `rows` (what is measured), `measuring` (how a row is), `programs` (what runs),
`registries`, `delay`, `images` and `emulator` (what it runs on), `tables` (what is printed);
`floor`, `coldstart`, `memory` and `instructions` are measured apart.
"""
