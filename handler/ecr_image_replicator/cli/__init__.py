"""The command line of the engine.

Reading order: `command` (from arguments to an exit status), `arguments` and `copying` (``copy``),
`mirror_command` and `mirror_file` (``mirror``), `exit_codes`, `report` (the final output),
`display`, `progress_bars` and `mirror_display` (output during a copy).
"""
