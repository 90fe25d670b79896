"""Links and file names in the documentation refer to existing files and headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "benchmarks/*.md")
    for page in ROOT.glob(pattern)
    if "node_modules" not in page.parts
)
FILES: Final = sorted(
    file
    for pattern in ("*", "[a-z]*/**/*")
    for file in ROOT.glob(pattern)
    if file.suffix in {".py", ".yaml", ".mk"} and "node_modules" not in file.parts
)
#: Files that a reader writes.
READERS: Final = {"mirror.yaml"}
_FENCE: Final = re.compile(r"^(```|~~~).*?^\1[ \t]*$", re.MULTILINE | re.DOTALL)
_CODE: Final = re.compile(r"`[^`\n]+`")
_LINK: Final = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(<?([^()\s>]+)>?(?:\s+\"[^\"]*\")?\)")
_REFERENCE: Final = re.compile(r"^\[[^\]]+\]:\s+<?(\S+?)>?\s*$", re.MULTILINE)
_HTML: Final = re.compile(r"(?:src|srcset|href)=\"([^\"]+)\"")
_HEADING: Final = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)


def links(page: Path) -> Iterator[str]:
    text = _FENCE.sub("", page.read_text())
    prose = _CODE.sub("`", text)
    for pattern in (_LINK, _REFERENCE, _HTML):
        yield from pattern.findall(prose)


def anchors(page: Path) -> set[str]:
    """Return the fragments of a page's headings as GitHub generates them."""
    found: list[str] = []
    for heading in _HEADING.findall(_FENCE.sub("", page.read_text())):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        kept = re.sub(r"[^\w\- ]", "", shown).replace(" ", "-")
        again = sum(each == kept or each.startswith(f"{kept}#") for each in found)
        found.append(f"{kept}#{again}" if again else kept)
    return {each.replace("#", "-") for each in found}


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_have_existing_targets(page: Path) -> None:
    for link in links(page):
        target = urlsplit(link)
        if target.scheme:
            assert target.scheme in {"https", "mailto"}, link
            continue
        file = (page.parent / target.path).resolve() if target.path else page
        assert file.is_relative_to(ROOT), f"{link} refers outside the repository"
        assert file.exists(), f"{link} refers to a missing file"
        if target.fragment and file.suffix == ".md":
            assert target.fragment in anchors(file), f"{link} refers to a missing heading"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_named_files_exist(page: Path) -> None:
    """A file can be named by the end of its path."""
    named = set(re.findall(r"(?<![\w/.-])[\w/]+\.(?:py|yaml|mk)\b", page.read_text())) - READERS
    there = {f"/{name_of(file)}" for file in FILES}
    assert {name for name in named if not any(file.endswith(f"/{name}") for file in there)} == set()


def test_every_page_is_reachable_from_the_readme() -> None:
    """Follow links from page to page."""
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        targets = [(page.parent / urlsplit(each).path).resolve() for each in links(page)]
        for target in targets:
            pages = sorted(target.glob("*.md")) if target.is_dir() else [target]
            waiting += [each for each in pages if each.suffix == ".md" and each.is_file()]
    assert {name_of(page) for page in PAGES} - {name_of(page) for page in reached} == set()


def test_the_pages_were_found() -> None:
    assert {"README.md", "docs/architecture.md"} <= {name_of(page) for page in PAGES}
