"""Archives of other programs in moto's S3, copied by the function in the Lambda emulator."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import json
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import zstandard
from local.archives import DockerSaveFormat, SavedImage, build_docker_save
from local.emulator import LambdaEmulator
from local.images import build_image, build_index, build_layer, push
from local.registry import RegistryServer
from tests.interop.conftest import HANDLER
from tests.interop.makers import Buildah, Podman, Storage
from tests.interop.registries import DockerRegistry, skopeo_copy, skopeo_inspect_raw
from tests.moto_server import running_moto
from tests.programs import find_program

BUCKET = "archives-of-programs"  # moto shares its buckets with other tests of the process
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "tests"}


@dataclasses.dataclass(frozen=True, slots=True)
class Cloud:
    """moto's S3, Debian's docker-registry and a warm function that copies images."""

    s3: Any
    destination: DockerRegistry
    function: LambdaEmulator

    def put(self, key: str, path: Path) -> str | None:
        version: str | None = self.s3.put_object(
            Bucket=BUCKET, Key=key, Body=path.read_bytes()
        ).get("VersionId")
        return version

    def replicate(self, source: str, image: str, **properties: Any) -> dict[str, Any]:
        response: dict[str, Any] = self.function.invoke(
            {
                "RequestType": "Create",
                "ResourceProperties": {
                    "SrcImage": f"s3://{BUCKET}/{source}",
                    "DestImage": f"{self.destination.host}/{image}",
                    **properties,
                },
            }
        )
        return response

    def reference(self, image: str) -> str:
        return f"docker://{self.destination.host}/{image}"


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with running_moto() as url:
        s3 = _new_bucket(url)
        environment = {"AWS_ENDPOINT_URL_S3": url, **CREDENTIALS}
        function = LambdaEmulator(HANDLER, environment=environment, timeout_seconds=120)
        try:
            with DockerRegistry() as destination, function:
                yield Cloud(s3, destination, function)
        finally:
            s3.close()


def _new_bucket(url: str) -> Any:
    s3 = boto3.client(
        "s3",
        endpoint_url=url,
        region_name="eu-west-1",
        aws_access_key_id="tests",
        aws_secret_access_key="tests",
    )
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    return s3


def unpacked(blob: bytes) -> bytes:
    if blob.startswith(b"\x1f\x8b"):
        return gzip.decompress(blob)
    if blob.startswith(b"\x28\xb5\x2f\xfd"):
        return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(blob)).read()
    return blob


def check(cloud: Cloud, image: str, folder: Path) -> dict[str, Any]:
    """Read an image back with skopeo, compare the diff_ids, and return manifest and config."""
    skopeo_copy(cloud.reference(image), f"dir:{folder}")
    manifest = json.loads((folder / "manifest.json").read_bytes())
    config = (folder / manifest["config"]["digest"].partition(":")[2]).read_bytes()
    layers = [
        (folder / layer["digest"].partition(":")[2]).read_bytes() for layer in manifest["layers"]
    ]
    found = [f"sha256:{hashlib.sha256(unpacked(layer)).hexdigest()}" for layer in layers]
    assert found == json.loads(config)["rootfs"]["diff_ids"]
    return {"manifest": manifest, "config": config}


def build_archive_with_skopeo(umoci_layout: Path, target: str, *arguments: str) -> bytes:
    """Write an archive of the image ``app`` with skopeo and return the image's config."""
    skopeo_copy(f"oci:{umoci_layout}:app", target, *arguments)
    return skopeo_inspect_raw(f"oci:{umoci_layout}:app", "--config")


def test_docker_archive_of_skopeo(cloud: Cloud, umoci_layout: Path, tmp_path: Path) -> None:
    archive = tmp_path / "app.tar"
    config = build_archive_with_skopeo(umoci_layout, f"docker-archive:{archive}:team/app:1")
    cloud.put("skopeo/app.tar", archive)

    response = cloud.replicate("skopeo/app.tar:team/app:1", "docker-archive:1")

    assert response["Status"] == "SUCCESS", response
    assert response["Data"]["Platforms"] == "linux/amd64"
    assert check(cloud, "docker-archive:1", tmp_path / "read")["config"] == config
    # a second run changes nothing
    assert cloud.replicate("skopeo/app.tar", "docker-archive:1")["Data"]["Changed"] == "false"


@pytest.mark.parametrize("command", ["gzip -9", "bzip2", "xz -9", "zstd -19 --rm -q"])
@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
def test_compressed_docker_archive_of_skopeo(
    cloud: Cloud, umoci_layout: Path, tmp_path: Path, kind: str, command: str
) -> None:
    archive = tmp_path / "app.tar"
    config = build_archive_with_skopeo(umoci_layout, f"{kind}:{archive}")
    program, *options = command.split()
    subprocess.run([find_program(program), *options, archive], check=True)
    (compressed,) = tmp_path.iterdir()
    cloud.put(f"whole/{compressed.name}", compressed)

    image = f"whole:{kind}-{program}"
    response = cloud.replicate(f"whole/{compressed.name}", image)

    assert response["Status"] == "SUCCESS", response
    assert check(cloud, image, tmp_path / "read")["config"] == config


def test_docker_archive_of_skopeo_with_several_tags(
    cloud: Cloud, umoci_layout: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "app.tar"
    more = ("--additional-tag", "team/other:2")
    config = build_archive_with_skopeo(umoci_layout, f"docker-archive:{archive}:team/app:1", *more)
    cloud.put("names.tar", archive)

    response = cloud.replicate("names.tar:team/other:2", "names:1")

    assert response["Status"] == "SUCCESS", response
    assert check(cloud, "names:1", tmp_path / "read")["config"] == config


@pytest.mark.parametrize("choice", ["two:1", "@1"])
def test_selecting_one_of_two_saved_images_matches_skopeo(
    cloud: Cloud, tmp_path: Path, choice: str
) -> None:
    layers = [build_layer(20_000, seed, "none") for seed in range(3)]
    images = [SavedImage(layers[:2], ["one:1"]), SavedImage(layers[1:], ["two:1"])]
    archive = build_docker_save(tmp_path / "two.tar", images)
    cloud.put("two.tar", archive)

    response = cloud.replicate(f"two.tar:{choice}", "two:1")

    assert response["Status"] == "SUCCESS", response
    read = skopeo_inspect_raw(f"docker-archive:{archive}:{choice}", "--config")
    assert check(cloud, "two:1", tmp_path / "read")["config"] == read == images[1].config


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A directory with a short path, which podman requires."""
    with tempfile.TemporaryDirectory(prefix="storage-") as directory:
        yield Path(directory)


@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
@pytest.mark.parametrize("maker", [Buildah, Podman])
def test_archive_of_buildah_and_podman(
    cloud: Cloud, short_path: Path, tmp_path: Path, maker: type[Storage], kind: str
) -> None:
    archive = tmp_path / "app.tar"
    program = maker(short_path)
    program.run("push", "--quiet", program.image("amd64"), f"{kind}:{archive}:team/app:1")
    image = f"{maker.program}:{kind}"
    cloud.put(f"{maker.program}/{kind}.tar", archive)

    response = cloud.replicate(f"{maker.program}/{kind}.tar:team/app:1", image)

    assert response["Status"] == "SUCCESS", response
    read = skopeo_inspect_raw(f"{kind}:{archive}:team/app:1", "--config")
    assert check(cloud, image, tmp_path / "read")["config"] == read


@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive", "oci-dir"])
def test_saved_image_of_podman(cloud: Cloud, short_path: Path, tmp_path: Path, kind: str) -> None:
    saved, archive = tmp_path / "saved", tmp_path / "saved.tar"
    podman = Podman(short_path)
    podman.run("save", "--quiet", f"--format={kind}", f"--output={saved}", podman.image("amd64"))
    if kind == "oci-dir":
        with tarfile.open(archive, "w") as tar:
            tar.add(saved, arcname=".")
    else:
        saved.rename(archive)
    cloud.put(f"podman/{kind}", archive)

    response = cloud.replicate(f"podman/{kind}", f"podman-save:{kind}")

    assert response["Status"] == "SUCCESS", response
    assert response["Data"]["Platforms"] == "linux/amd64"
    transport = "docker-archive" if kind == "docker-archive" else "oci-archive"
    read = skopeo_inspect_raw(f"{transport}:{archive}", "--config")
    assert check(cloud, f"podman-save:{kind}", tmp_path / "read")["config"] == read


@pytest.mark.parametrize("number", [0, 1])
def test_selecting_one_of_two_saved_images_of_podman(
    cloud: Cloud, short_path: Path, tmp_path: Path, number: int
) -> None:
    archive = tmp_path / "two.tar"
    podman = Podman(short_path)
    names = [podman.image(architecture) for architecture in ("amd64", "arm64")]
    podman.run("save", "--quiet", "--multi-image-archive", f"--output={archive}", *names)
    cloud.put("podman/two.tar", archive)

    response = cloud.replicate(f"podman/two.tar:{names[number]}", f"podman-two:{number}")

    assert response["Status"] == "SUCCESS", response
    read = skopeo_inspect_raw(f"docker-archive:{archive}:{names[number]}", "--config")
    assert check(cloud, f"podman-two:{number}", tmp_path / "read")["config"] == read


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_oci_archive_of_skopeo(
    cloud: Cloud, umoci_layout: Path, tmp_path: Path, compression: str
) -> None:
    archive = tmp_path / "app.tar"
    source = umoci_layout
    arguments: tuple[str, ...] = ("--dest-compress-format", compression)
    if compression == "none":
        # skopeo decompresses the layers into a directory and archives them from there
        folder = tmp_path / "folder"
        skopeo_copy(f"oci:{umoci_layout}:app", f"dir:{folder}", "--dest-decompress")
        source = tmp_path / "layout"
        arguments = ("--dest-oci-accept-uncompressed-layers",)
        skopeo_copy(f"dir:{folder}", f"oci:{source}:app", *arguments)
    config = build_archive_with_skopeo(source, f"oci-archive:{archive}:app:1", *arguments)
    cloud.put("skopeo:oci.tar", archive)

    response = cloud.replicate("skopeo:oci.tar:app:1", f"oci-archive:{compression}")

    assert response["Status"] == "SUCCESS", response
    image = f"oci-archive:{compression}"
    raw = skopeo_inspect_raw(f"oci-archive:{archive}:app:1")
    assert skopeo_inspect_raw(cloud.reference(image)) == raw
    assert response["Data"]["ImageDigest"] == f"sha256:{hashlib.sha256(raw).hexdigest()}"
    read = check(cloud, image, tmp_path / "read")
    assert read["config"] == config
    kinds = {layer["mediaType"].partition(".tar")[2] for layer in read["manifest"]["layers"]}
    assert kinds == {"" if compression == "none" else f"+{compression}"}


def test_selecting_one_of_two_images_in_a_layout_of_skopeo(
    cloud: Cloud, umoci_layout: Path, tmp_path: Path
) -> None:
    layout = tmp_path / "layout"
    for name in ("app", "many"):
        skopeo_copy(f"oci:{umoci_layout}:{name}", f"oci:{layout}:team/{name}:1")
    archive = tmp_path / "layout.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(layout, arcname=".")
    cloud.put("several.tar", archive)

    response = cloud.replicate("several.tar:team/many:1", "several:1")

    assert response["Status"] == "SUCCESS", response
    raw = skopeo_inspect_raw(f"oci:{layout}:team/many:1")
    assert skopeo_inspect_raw(cloud.reference("several:1")) == raw


def test_oci_archive_of_skopeo_with_an_index(cloud: Cloud, tmp_path: Path) -> None:
    index = build_index(
        [build_image([build_layer(5000, 1)], f"linux/{name}") for name in ("amd64", "arm64")]
    )
    archive = tmp_path / "multi.tar"
    with RegistryServer() as builder:
        push(index, builder.host, "multi", "1")
        skopeo_copy(f"docker://{builder.host}/multi:1", f"oci-archive:{archive}", "--all")
    cloud.put("multi.tar", archive)

    whole = cloud.replicate("multi.tar", "multi:all", CopyImageIndex="true")
    one = cloud.replicate("multi.tar", "multi:arm64", ImageArch=["arm64"])

    assert whole["Data"]["ImageDigest"] == index.digest
    assert skopeo_inspect_raw(cloud.reference("multi:all")) == index.manifest
    assert one["Data"]["ImageDigest"] == index.images[1].digest


@pytest.mark.parametrize("name", ["app", "many"])
@pytest.mark.parametrize("compressed", [True, False])
def test_selecting_one_of_two_images_in_a_layout_of_umoci(
    cloud: Cloud, umoci_layout: Path, tmp_path: Path, name: str, compressed: bool
) -> None:
    archive = tmp_path / "layout.tar"
    with tarfile.open(archive, "w:gz" if compressed else "w") as tar:
        tar.add(umoci_layout, arcname=".")
    cloud.put("layout", archive)
    image = f"umoci:{name}-{compressed}"

    response = cloud.replicate(f"layout:{name}", image)
    none = cloud.replicate("layout", image)

    assert response["Status"] == "SUCCESS", response
    raw = skopeo_inspect_raw(f"oci:{umoci_layout}:{name}")
    assert skopeo_inspect_raw(cloud.reference(image)) == raw
    check(cloud, image, tmp_path / "read")
    assert "it has 2 images: @0 app; @1 many. Add :repository:tag" in none["Reason"]


@pytest.mark.parametrize("save_format", ["folders", "layout", "compressed"])
def test_skopeo_reads_archives_of_the_test_builders(
    cloud: Cloud, tmp_path: Path, save_format: DockerSaveFormat
) -> None:
    kind = "gzip" if save_format == "compressed" else "none"
    layers = [build_layer(50_000, seed, "gzip" if kind == "gzip" else "none") for seed in range(3)]
    saved = SavedImage([*layers, layers[0]], ["app:1"])
    archive = build_docker_save(tmp_path / "app.tar", [saved], save_format)
    cloud.put(f"built/{save_format}", archive)

    response = cloud.replicate(f"built/{save_format}", f"built:{save_format}")

    assert response["Status"] == "SUCCESS", response
    read = skopeo_inspect_raw(f"docker-archive:{archive}", "--config")
    assert check(cloud, f"built:{save_format}", tmp_path / "read")["config"] == read == saved.config


def test_an_object_version_can_be_pinned(cloud: Cloud, umoci_layout: Path, tmp_path: Path) -> None:
    config = build_archive_with_skopeo(umoci_layout, f"docker-archive:{tmp_path / 'app.tar'}")
    cloud.s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    version = cloud.put("versions.tar", tmp_path / "app.tar")
    (tmp_path / "other").write_bytes(b"overwritten")
    cloud.put("versions.tar", tmp_path / "other")

    response = cloud.replicate(f"versions.tar?versionId={version}", "versions:1")
    latest = cloud.replicate("versions.tar", "versions:2")

    assert response["Status"] == "SUCCESS", response
    assert check(cloud, "versions:1", tmp_path / "read")["config"] == config
    assert "truncated after 11 bytes" in latest["Reason"]


def test_s3_errors_are_in_the_failure_reason(cloud: Cloud) -> None:
    assert "(NoSuchKey: " in cloud.replicate("none.tar", "none:1")["Reason"]
    response = cloud.replicate(f"../none/{BUCKET}", "none:1")
    assert response["Status"] == "FAILED"
