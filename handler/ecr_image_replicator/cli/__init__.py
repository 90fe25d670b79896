"""The engine's use from a shell; the engine knows nothing of it.

Reading order: `command` (from arguments to an exit status), `arguments`, `exits`, `report` (what is
printed in the end), `display` (what is printed meanwhile) and `progress_bars`.
"""
