"""The app that `cdk deploy` runs."""

from __future__ import annotations

from replicated_images import build

build().synth()
