"""docs/migration.md compared with this project's property and option names.

The tests of the examples compare with the real cdk-ecr-deployment package.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Final

from ecr_image_replicator.request.parsing import KNOWN_PROPERTIES

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "migration.md").read_text()
CONSTRUCT: Final = ROOT / "examples" / "cdk" / "ecr_replicator" / "deployment.py"
#: Properties of `Custom::CDKECRDeployment`.
PEERS_PROPERTIES: Final = {
    "SrcImage",
    "DestImage",
    "SrcCreds",
    "DestCreds",
    "ImageArch",
    "CopyImageIndex",
    "ArchImageTags",
    "RetryConfigs",
}
#: Options of its `ECRDeployment`.
PEERS_OPTIONS: Final = {
    "src",
    "dest",
    "image_arch",
    "copy_image_index",
    "arch_image_tags",
    "retry_configs",
    "memory_limit",
    "role",
    "vpc",
    "vpc_subnets",
    "security_groups",
}


def names(heading: str) -> set[str]:
    """Return the names in the first column of a section's table."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`[^|]+) \|", section, flags=re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def test_every_property_of_the_peer_is_documented_and_supported() -> None:
    assert names("Property by property") == PEERS_PROPERTIES
    assert set(KNOWN_PROPERTIES) >= PEERS_PROPERTIES


def test_every_option_of_the_peer_is_documented_and_supported() -> None:
    module = ast.parse(CONSTRUCT.read_text())
    (construct,) = (
        node
        for node in ast.walk(module)
        if isinstance(node, ast.ClassDef) and node.name == "ECRDeployment"
    )
    (constructor,) = (
        node
        for node in construct.body
        if isinstance(node, ast.FunctionDef) and node.name == "__init__"
    )
    taken = {argument.arg for argument in constructor.args.kwonlyargs}

    assert names("With the CDK") == PEERS_OPTIONS
    assert taken >= PEERS_OPTIONS
