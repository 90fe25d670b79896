from __future__ import annotations

from tests.unit.builders import blob, digest_of, image, index

from ecr_image_replicator.copy.plan import make_plan, tag_plan
from ecr_image_replicator.model.digests import Digest
from ecr_image_replicator.model.manifests import OCI_INDEX, Manifest


def test_a_shared_blob_is_planned_once() -> None:
    first, second = image([b"shared", b"1"]), image([b"shared", b"22"])
    root = index([first, second])
    plan = make_plan(root, {first.digest: first, second.digest: second}, ["latest"])
    digests = [each.digest for each in plan.blobs]
    assert sorted(digests) == sorted(map(digest_of, (b"shared", b"1", b"22", b"{}")))


def test_blobs_are_sorted_by_decreasing_size() -> None:
    plan = make_plan(image([b"333", b"1", b"55555"], config=b"{  }"), {}, ["latest"])
    assert [each.size_bytes for each in plan.blobs] == [5, 4, 3, 1]


def test_the_blob_order_does_not_depend_on_the_manifest_order() -> None:
    layers = [b"aa", b"bb", b"cc"]
    in_order = make_plan(image(layers), {}, []).blobs
    in_reverse = make_plan(image(reversed(layers)), {}, []).blobs
    assert in_order == in_reverse


def test_known_blobs_of_the_destination_are_not_requested() -> None:
    plan = make_plan(image([b"old", b"newer"]), {}, ["1"], known=[blob(b"old"), blob(b"gone")])
    assert [each.digest for each in plan.present] == [digest_of(b"old")]
    assert digest_of(b"old") not in {each.digest for each in plan.blobs}
    assert digest_of(b"newer") in {each.digest for each in plan.blobs}


def test_a_single_image_has_no_levels() -> None:
    root = image()
    plan = make_plan(root, {}, ["1", "2"], mount_from="team/base")
    assert plan.levels == ()
    assert (plan.root, plan.tags, plan.mount_from) == (root, ("1", "2"), "team/base")


def test_a_plan_of_blobs_has_no_manifests() -> None:
    child = image([b"1", b"22"])
    root = index([child])
    plan = make_plan(root, {child.digest: child}, ["1"], known=[blob(b"1")], mount_from="team/base")
    ahead = plan.of_blobs(plan.blobs[:1])
    assert (ahead.blobs, ahead.mount_from) == (plan.blobs[:1], "team/base")
    assert (ahead.present, ahead.levels, ahead.final_pushes) == ((), (), ())


def test_children_precede_their_parents_at_any_depth() -> None:
    leaf, other, lone = image([b"1"]), image([b"2"]), image([b"3"])
    lower = index([leaf, other])
    upper = index([lower, lone])
    root = index([upper, other])
    below = {each.digest: each for each in (leaf, other, lone, lower, upper)}
    levels = make_plan(root, below, ["1"]).levels
    height = {each.digest: number for number, level in enumerate(levels) for each in level}
    assert height.keys() == below.keys()
    assert sum(map(len, levels)) == len(below)
    assert height[lower.digest] > max(height[leaf.digest], height[other.digest])
    assert height[upper.digest] > max(height[lower.digest], height[lone.digest])
    assert root.digest not in height


def test_an_empty_index_is_pushed_before_its_parent() -> None:
    empty = index([])
    assert make_plan(index([empty]), {empty.digest: empty}, []).levels == ((empty,),)


def test_children_that_were_not_selected_are_omitted() -> None:
    chosen, other = image([b"1"]), image([b"2"])
    plan = make_plan(index([chosen, other]), {chosen.digest: chosen}, [])
    assert plan.levels == ((chosen,),)
    assert digest_of(b"2") not in {each.digest for each in plan.blobs}


def test_repeated_children_are_planned_in_linear_time() -> None:
    # without memoization there would be 200**4 visits
    below: dict[Digest, Manifest] = {}
    manifest: Manifest = image()
    for _ in range(4):
        below[manifest.digest] = manifest
        manifest = index([manifest] * 200)
    plan = make_plan(manifest, below, ["1"])
    assert [len(level) for level in plan.levels] == [1, 1, 1, 1]


def test_a_tag_plan_has_no_blobs_and_no_children() -> None:
    root = index([image()])
    plan = tag_plan(root, ["1", "2"])
    assert root.media_type == OCI_INDEX
    assert (plan.blobs, plan.present, plan.levels) == ((), (), ())
    assert (plan.root, plan.tags) == (root, ("1", "2"))
