"""Images at the limits of registries. docs/compatibility.md has the reports."""

from __future__ import annotations

import json

from local.images import build_image, build_index, build_layer, place
from tests.functional.conftest import Function
from tests.functional.quirks.replicating import Start, check_copy, replicate


def test_127_layers_and_an_index_of_100_images_are_copied(
    function: Function, registries: Start
) -> None:
    layers = [build_layer(50, seed=seed) for seed in range(127)]
    deep = build_image(layers)
    others = [build_image([layers[seed]], f"linux/arm/v{seed}") for seed in range(99)]
    index = build_index([deep, *others])
    source, destination = registries(), registries()
    place(index, source.store, "team/app", "1")

    response = replicate(function, source, destination, CopyImageIndex="true")

    check_copy(response, destination, index)


def test_a_manifest_of_4_mib_is_copied(function: Function, registries: Start) -> None:
    small = build_image([build_layer(50, seed=1)])
    document = json.loads(small.manifest)
    document["annotations"] = {"filler": ""}
    missing = 4 * 1024 * 1024 - len(json.dumps(document).encode())
    document["annotations"]["filler"] = "x" * missing
    content = json.dumps(document).encode()
    source, destination = registries(), registries()
    place(small, source.store, "team/app")
    source.store.put_manifest("team/app", "1", content, small.media_type)

    response = replicate(function, source, destination)

    assert response["Status"] == "SUCCESS", response["Reason"]
    assert destination.store.manifest("mirror/app", "1").content == content
