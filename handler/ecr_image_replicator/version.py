"""The version of the engine and of the release that contains it."""

from __future__ import annotations

__all__ = ["__version__"]

#: `pyproject.toml` and the release read it from here.
__version__ = "0.1.0"
