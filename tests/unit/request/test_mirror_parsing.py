from __future__ import annotations

from typing import Any

import pytest

from ecr_image_replicator.errors import RequestError
from ecr_image_replicator.request.mirror_parsing import parse_mirror

_ENTRY = {"SrcRepository": "quay.io/acme/app", "DestRepository": "registry.example/mirror/{name}"}


def _parse(**properties: Any) -> Any:
    return parse_mirror(properties)


def _entry(**properties: Any) -> Any:
    return _parse(Repositories=[{**_ENTRY, **properties}]).entries[0]


def test_placeholders_in_destrepository_are_replaced() -> None:
    assert _entry().destination_name == "registry.example/mirror/app"
    named = _entry(DestRepository="registry.example/{path}", SrcRepository="nginx")
    assert named.destination_name == "registry.example/library/nginx"
    assert named.source_host == "docker.io"


def test_defaults_apply_to_entries_without_their_own_value() -> None:
    mirror = _parse(
        Defaults={"Platforms": "linux/arm64", "Newest": 3, "Versions": "*"},
        Repositories=[_ENTRY, {**_ENTRY, "DestRepository": "d.example/b", "Platforms": "all"}],
        Images=[{"SrcImage": "nginx:1.27", "DestImage": "d.example/nginx:1.27"}],
    )
    first, second, image = mirror.entries
    assert [str(each) for each in first.template.platforms] == ["linux/arm64"]
    assert first.selection.newest == 3
    assert second.template.copies_index
    assert [str(each) for each in image.template.platforms] == ["linux/arm64"]


@pytest.mark.parametrize("own", [{"CopyImageIndex": "true"}, {"ImageArch": "amd64"}])
def test_an_entrys_choice_of_platforms_replaces_that_of_defaults(own: dict[str, Any]) -> None:
    image = {"SrcImage": "nginx:1", "DestImage": "d.example/nginx:1", **own}
    mirror = _parse(
        Defaults={"Platforms": "linux/arm64"}, Repositories=[{**_ENTRY, **own}], Images=[image]
    )
    for entry in mirror.entries:
        assert entry.template.copies_index == ("CopyImageIndex" in own)
        assert "arm64" not in str(entry.template.platforms)
    kept = _parse(
        Defaults={"ImageArch": "arm64"}, Repositories=[{**_ENTRY, "CopyImageIndex": "false"}]
    )
    assert [str(each) for each in kept.entries[0].template.platforms] == ["linux/arm64"]


@pytest.mark.parametrize("swapped", [False, True])
def test_a_role_and_its_external_id_may_be_in_defaults_and_an_entry(swapped: bool) -> None:
    role, external_id = {"SrcRoleArn": "arn:aws:iam::123456789012:role/a"}, {"SrcExternalId": "ab"}
    defaults, own = (external_id, role) if swapped else (role, external_id)
    template = _parse(Defaults=defaults, Repositories=[{**_ENTRY, **own}]).entries[0].template
    assert (template.source_role.arn, template.source_role.external_id) == (*role.values(), "ab")
    with pytest.raises(RequestError, match=r"Repositories\[0\]: SrcRoleArn is required with Src"):
        _entry(**external_id)


def test_images_with_the_same_repositories_and_options_are_one_entry() -> None:
    images = [
        {"SrcImage": f"nginx:{tag}", "DestImage": f"d.example/nginx:{tag}", "DestTags": more}
        for tag, more in (("1.26", []), ("1.27", ["stable"]))
    ]
    other = {"SrcImage": "nginx:1.25", "DestImage": "d.example/nginx:1.25", "Platforms": "all"}
    entries = _parse(Images=[*images, other]).entries
    assert [len(entry.images) for entry in entries] == [2, 1]
    assert [tags for _, tags in entries[0].images] == [("1.26",), ("1.27", "stable")]


def test_the_source_host_of_an_archive_is_s3() -> None:
    image = {"SrcImage": "s3://bucket/app.tar", "DestImage": "d.example/app:1"}
    assert _parse(Images=[image]).entries[0].source_host == "s3"


@pytest.mark.parametrize(
    ("value", "hub", "quay"),
    [
        (None, 2, 4),
        ("3", 3, 3),
        (7, 7, 7),
        ({"index.docker.io": "1"}, 1, 4),
        ({"*": 9}, 2, 9),
        ({"s3": 1}, 2, 4),
    ],
)
def test_source_concurrency_is_a_number_or_a_map_of_hosts(value: Any, hub: int, quay: int) -> None:
    mirror = _parse(Repositories=[_ENTRY], SourceConcurrency=value)
    assert mirror.concurrency_of("docker.io") == hub
    assert mirror.concurrency_of("quay.io") == quay


def test_the_properties_of_the_mirror_are_parsed() -> None:
    mirror = _parse(
        Repositories=[_ENTRY],
        MaxFailures="5",
        CompleteWhen="started",
        Schedule="cron(0 3 * * ? *)",
        ScheduleTimezone="Europe/Berlin",
        DryRun="true",
        Trigger=1,
    )
    assert mirror.max_failures == 5
    assert mirror.completes_when_started
    assert mirror.schedule == "cron(0 3 * * ? *)"
    assert mirror.schedule_timezone == "Europe/Berlin"
    assert mirror.dry_run


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ({}, "Images or Repositories is required"),
        ({"Repositories": [], "Images": []}, "Images or Repositories is required"),
        ({"Repository": [_ENTRY]}, "unknown property 'Repository'; did you mean 'Repositories'"),
        (
            {"REPOSITORIES": [_ENTRY]},
            "unknown property 'REPOSITORIES'; did you mean 'Repositories'",
        ),
        ({"Repositories": [{**_ENTRY, "Tag": "1"}]}, "unknown property 'Tag' in Repos"),
        ({"Repositories": [{"SrcRepository": "a"}]}, "DestRepository"),
        ({"Repositories": [{**_ENTRY, "SrcRepository": "quay.io/a:1"}]}, "neither tag nor digest"),
        ({"Repositories": [{**_ENTRY, "SrcRepository": "s3://b/a.tar"}]}, "archive has no tags"),
        ({"Repositories": [{**_ENTRY, "Versions": "new"}]}, "Versions: invalid version range"),
        ({"Repositories": [{**_ENTRY, "Tags": "a b"}]}, "Tags: invalid tag or glob"),
        ({"Repositories": [{**_ENTRY, "Tags": "a["}]}, "bracket"),
        ({"Repositories": [{**_ENTRY, "Tags": "sha256-" + "a" * 64}]}, "stands for a digest"),
        ({"Repositories": [{**_ENTRY, "Newest": 3}]}, "Newest is invalid without Versions"),
        ({"Repositories": [_ENTRY], "Defaults": {"Newest": 3}}, "Defaults.Newest is invalid witho"),
        ({"Repositories": [_ENTRY], "Defaults": {"Suffix": "-a"}}, "Defaults.Suffix is invalid wi"),
        ({"Repositories": [{**_ENTRY, "Newest": 0, "Versions": "*"}]}, "Newest 0 is invalid"),
        ({"Repositories": [{**_ENTRY, "Newest": "x", "Versions": "*"}]}, "Newest 'x' is invalid"),
        ({"Repositories": [{**_ENTRY, "Newest": [3], "Versions": "*"}]}, r"Newest \[3\] is inv"),
        ({"Repositories": [{**_ENTRY, "Newest": {}}]}, "Newest {} is invalid"),
        ({"Repositories": [{**_ENTRY, "Tags": "-alpine"}]}, "Tags '-alpine' is invalid: it is not"),
        ({"Repositories": [{**_ENTRY, "OnDelete": "Untag"}]}, "unknown property 'OnDelete'"),
        ({"Repositories": [{**_ENTRY, "Trigger": "2"}]}, "unknown property 'Trigger'"),
        ({"Images": [{"SrcImage": "a:1", "Trigger": "2"}]}, "unknown property 'Trigger'"),
        ({"Repositories": [_ENTRY], "Defaults": {"ServiceToken": "a"}}, "'ServiceToken'"),
        ({"Repositories": [{**_ENTRY, "Newest": ["3"]}]}, r"Newest \['3'\] is invalid"),
        ({"Repositories": [{**_ENTRY, "Newest": {}, "Versions": "*"}]}, "Newest {} is invalid"),
        ({"Repositories": [{**_ENTRY, "Suffix": ["-a"]}]}, "Suffix: .* is not a string"),
        ({"Repositories": "all"}, "Repositories is invalid: it is not a list of maps"),
        ({"Repositories": ["a"]}, r"Repositories\[0\] is invalid: it is not a map"),
        ({"Repositories": [_ENTRY, _ENTRY]}, r"Repositories\[1\].DestRepository .* has the same"),
        ({"Repositories": [{**_ENTRY, "DestRepository": "{name}"}]}, "is not host/repository"),
        ({"Repositories": [{**_ENTRY, "DestRepository": "oci://a.io"}]}, "is not host/repository"),
        ({"Repositories": [_ENTRY], "MaxFailures": -1}, "MaxFailures -1 is invalid"),
        ({"Repositories": [_ENTRY], "CompleteWhen": "Never"}, "CompleteWhen"),
        ({"Repositories": [_ENTRY], "Schedule": "daily"}, "Schedule 'daily' is invalid"),
        ({"Repositories": [_ENTRY], "Schedule": "cron(0 3 * * *)"}, r"takes cron\(minutes hours "),
        ({"Repositories": [_ENTRY], "SourceConcurrency": 0}, "SourceConcurrency 0 is invalid"),
        ({"Repositories": [_ENTRY], "SourceConcurrency": True}, "SourceConcurrency True is inv"),
        ({"Repositories": [_ENTRY], "SourceConcurrency": {"a.io": 99}}, "99 workers, at most 40"),
        (
            {"Repositories": [_ENTRY], "SourceConcurrency": {"quay.io": "many"}},
            "SourceConcurrency of quay.io 'many' is invalid",
        ),
        ({"Repositories": [_ENTRY], "SourceConcurrency": {"a": None}}, "SourceConcurrency of a"),
        (
            {"Repositories": [_ENTRY], "SourceConcurrency": {"https://quay.io": 3}},
            "SourceConcurrency 'https://quay.io' is invalid: it is not host or host:port",
        ),
        ({"Repositories": [_ENTRY], "Defaults": {"Platform": "a"}}, "unknown property 'Platform'"),
        ({"Images": [{"SrcImage": "a:1"}]}, "DestImage"),
    ],
)
def test_the_error_names_the_invalid_property(properties: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        parse_mirror(properties)


def test_the_error_names_all_invalid_properties() -> None:
    wrong = {
        **_ENTRY,
        "Versions": "new",
        "Newest": "x",
        "Platforms": "linux/amd64/v1/more",
        "CopyReferrers": "perhaps",
        "Tag": "1",
    }
    with pytest.raises(RequestError) as raised:
        _parse(Repositories=[wrong], MaxFailures="many", Images=[{"SrcImage": "UPPER/a:1"}])
    message = str(raised.value)
    for name in (
        "Versions",
        "Newest",
        "Platforms",
        "CopyReferrers",
        "Tag",
        "MaxFailures",
        "DestImage",
    ):
        assert name in message


@pytest.mark.parametrize("empty", [None, ""])
def test_an_empty_property_is_a_missing_one(empty: object) -> None:
    named = ("MaxFailures", "SourceConcurrency", "CompleteWhen", "Schedule", "DryRun", "Images")
    mirror = _parse(Repositories=[_ENTRY], **dict.fromkeys(named, empty))
    assert mirror == _parse(Repositories=[_ENTRY])


@pytest.mark.parametrize(
    "properties",
    [
        {"Images": {"SrcImage": "nginx:1", "SrcCreds": "ann:hunter2"}},
        {"Images": ["https://bucket.s3.amazonaws.com/a.tar?X-Amz-Signature=hunter2"]},
        {"Images": [_ENTRY], "Defaults": '{"SrcCreds": "ann:hunter2"'},
        {"Images": [_ENTRY], "Defaults": '[{"SrcCreds": "ann:hunter2"}]'},
        {"Repositories": [{**_ENTRY, "SrcRepository": "ann:hunter2@quay.io/acme/app"}]},
        {"Repositories": [{**_ENTRY, "DestRepository": "ann:hunter2@quay.io/acme/app"}]},
    ],
)
def test_a_malformed_entry_with_credentials_is_not_quoted(properties: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as raised:
        parse_mirror(properties)
    assert "hunter2" not in str(raised.value)


def test_inline_credentials_are_rejected_and_not_quoted() -> None:
    for place in (
        {"Repositories": [{**_ENTRY, "SrcCreds": "ann:hunter2"}]},
        {"Repositories": [_ENTRY], "Defaults": {"DestCreds": "ann:hunter2"}},
    ):
        with pytest.raises(RequestError, match="Creds is invalid") as raised:
            parse_mirror(place)
        assert "hunter2" not in str(raised.value)


def test_a_default_newest_applies_to_entries_with_versions() -> None:
    other = {**_ENTRY, "DestRepository": "registry.example/mirror/other", "Versions": "1.*"}
    whole, newest = _parse(Defaults={"Newest": 3}, Repositories=[_ENTRY, other]).entries

    assert whole.selection is not None
    assert whole.selection.versions is None
    assert newest.selection is not None
    assert newest.selection.newest == 3


def test_a_duplicate_destination_tag_is_rejected() -> None:
    images = [
        {"SrcImage": "nginx:1", "DestImage": "d.example/a:1", "DestTags": "stable"},
        {"SrcImage": "nginx:2", "DestImage": "d.example/a:2", "DestTags": "stable"},
    ]
    with pytest.raises(
        RequestError, match=r"Images\[1\]\.DestImage d\.example/a:stable is invalid"
    ):
        _parse(Images=images)


def test_an_image_with_the_destination_of_a_listed_tag_is_rejected() -> None:
    entry = {**_ENTRY, "Tags": ["1", "2"], "Exclude": "2"}
    image = {"SrcImage": "nginx:1", "DestImage": "registry.example/mirror/app:1"}
    with pytest.raises(RequestError, match=r"Images\[0\].DestImage .*/app:1 is invalid"):
        _parse(Repositories=[entry], Images=[image])

    assert _parse(
        Repositories=[entry], Images=[{**image, "DestImage": "registry.example/mirror/app:2"}]
    )
