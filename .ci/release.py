"""Build a release into `dist/VERSION`: `release.py [DIRECTORY]`.

- `function.zip`, `responder.zip` and a layer for each architecture, with bytecode;
- `template.yaml`, which takes them from a bucket: any tool of CloudFormation can deploy it;
- the wheel of the engine with its command line, and its source distribution;
- the wheel of the CDK construct, with the built function and layers inside;
- the layer's software bill of materials (CycloneDX);
- `SHA256SUMS` of all of them.

Two builds of one commit are the same, byte for byte, if the same Python 3.13 compiles the bytecode
(named by RUNTIME_PYTHON or found).
"""

from __future__ import annotations

import hashlib
import os
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENGINE = ROOT / "handler" / "ecr_image_replicator"
VERSION = str(runpy.run_path(str(ENGINE / "version.py"))["__version__"])
LAYER = ROOT / "layers" / "dependencies"
#: Zip files with the directory, the makefile and the target that make their content.
ZIPS = {
    "function.zip": (ROOT / "handler", "Makefile", "build-ReplicatorFunction"),
    "responder.zip": (ROOT / "handler", "Makefile", "build-ResponderFunction"),
    "layer-arm64.zip": (LAYER, "arm64/Makefile", "build-DependenciesLayer"),
    "layer-x86_64.zip": (LAYER, "x86_64/Makefile", "build-DependenciesLayer"),
}
#: Directories of the construct's package with the content of a zip file.
BUILT = {
    "function.zip": "build-ReplicatorFunction",
    "responder.zip": "build-ResponderFunction",
    "layer-arm64.zip": "layer-arm64",
    "layer-x86_64.zip": "layer-x86_64",
}
CONSTRUCT = ROOT / "examples" / "cdk"
CODE_OF_RESOURCES = {"ReplicatorFunction": "function.zip", "ResponderFunction": "responder.zip"}
#: The earliest date that a zip file can have.
DATE = (1980, 1, 1, 0, 0, 0)
PARAMETERS = f"""\
  ArtifactBucket:
    Type: String
    Description: Bucket in this region to which the files of the release were uploaded.
    AllowedPattern: "[a-z0-9][a-z0-9.-]{{1,61}}[a-z0-9]"
  ArtifactPrefix:
    Type: String
    Description: Prefix of those files in the bucket, with a slash at its end.
    Default: ecr-image-replicator/{VERSION}/
    AllowedPattern: "([^/]+/)*"
"""
GROUP = """\
      - Label:
          default: Files of the release
        Parameters:
          - ArtifactBucket
          - ArtifactPrefix
"""
LABELS = """\
      ArtifactBucket:
        default: Bucket with the release's files
      ArtifactPrefix:
        default: Prefix of the files
"""
#: What follows a line of the template.
ADDITIONS = {
    "Parameters:\n": PARAMETERS,
    "    ParameterGroups:\n": GROUP,
    "    ParameterLabels:\n": LABELS,
}
_RESOURCE = re.compile(r"  (\w+):\s*$")
_LOCAL = re.compile(r"( +)(CodeUri|ContentUri|DefinitionUri): (?!s3:)(\S+)$")
_BUILD_METADATA = re.compile(r" +(BuildMethod|BuildArchitecture|ContextPath): ")


def main(directory: Path) -> None:
    """Build everything into `directory`, which is replaced."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    for name, (sources, makefile, target) in ZIPS.items():
        build_zip(directory / name, sources, makefile, target)
    template, files = packaged((ROOT / "template.yaml").read_text())
    (directory / "template.yaml").write_text(template)
    for file in files:
        shutil.copyfile(ROOT / file, directory / Path(file).name)
    for kind in ("wheel", "sdist"):
        command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(directory)]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    build_construct(directory)
    shutil.copyfile(LAYER / "sbom.cdx.json", directory / "layer-sbom.cdx.json")
    write_checksums(directory)


def build_zip(archive: Path, sources: Path, makefile: str, target: str) -> None:
    """Make a target as `sam build` does, in a copy of its sources, and zip what it makes.

    Raises
    ------
    SystemExit
        There is no Python to compile the bytecode with.
    """
    with tempfile.TemporaryDirectory() as temporary:
        copy, artifacts = Path(temporary, "sources"), Path(temporary, "artifacts")
        shutil.copytree(sources, copy, ignore=shutil.ignore_patterns("__pycache__"))
        artifacts.mkdir()
        subprocess.run(
            ["make", "-s", "-I", ".", "-f", makefile, target],
            cwd=copy,
            env={**os.environ, "PYTHON": sys.executable, "ARTIFACTS_DIR": str(artifacts)},
            check=True,
        )
        if not any(artifacts.rglob("*.pyc")):
            sys.exit(f"a release needs Python 3.13 for its bytecode: {archive.name} has none")
        write_zip(archive, artifacts)


def build_construct(directory: Path) -> None:
    """Build the wheel of the CDK construct around the zip files of `directory`."""
    with tempfile.TemporaryDirectory() as temporary:
        package = Path(temporary, "ecr_replicator")
        ignored = shutil.ignore_patterns("__pycache__", "built")
        shutil.copytree(CONSTRUCT / "ecr_replicator", package, ignore=ignored)
        shutil.copyfile(CONSTRUCT / "pyproject.toml", Path(temporary, "pyproject.toml"))
        shutil.copyfile(ENGINE / "version.py", Path(temporary, "version.py"))
        for name, target in BUILT.items():
            with zipfile.ZipFile(directory / name) as archive:
                archive.extractall(package / "built" / target)
        for path in package.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)]
        subprocess.run(command, cwd=temporary, check=True, capture_output=True)


def write_zip(archive: Path, directory: Path) -> None:
    """Write the files of `directory`, sorted, all with one date and one mode."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as opened:
        for path in sorted(path for path in directory.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(directory).as_posix(), DATE)
            entry.create_system = 3  # Unix, for the mode
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            opened.writestr(entry, path.read_bytes())


def packaged(template: str) -> tuple[str, list[str]]:
    """Return the template with its code in a bucket, and further files that belong there.

    It is edited as text, so that its comments and order remain.
    """
    files: list[str] = []
    return "".join(_packaged_lines(template, files)), files


def _packaged_lines(template: str, files: list[str]) -> Iterator[str]:
    resource = ""
    for line in template.splitlines(keepends=True):
        if _BUILD_METADATA.match(line):
            continue
        if found := _RESOURCE.match(line):
            resource = found[1]
        if local := _LOCAL.match(line.rstrip("\n")):
            indent, name, path = local.groups()
            if name == "DefinitionUri":
                files.append(path)
            yield f"{indent}{name}:\n{indent}  Bucket: !Ref ArtifactBucket\n"
            yield f"{indent}  Key: !Sub ${{ArtifactPrefix}}{_object_of(resource, name, path)}\n"
        else:
            yield line
            yield ADDITIONS.get(line, "")


def _object_of(resource: str, name: str, path: str) -> str:
    if name == "CodeUri":
        return CODE_OF_RESOURCES[resource]
    return "layer-${Architecture}.zip" if name == "ContentUri" else Path(path).name


def write_checksums(directory: Path) -> None:
    """Write SHA256SUMS, as `sha256sum --check` reads it."""
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in sorted(directory.iterdir())
    ]
    (directory / "SHA256SUMS").write_text("".join(lines))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "dist" / VERSION)
