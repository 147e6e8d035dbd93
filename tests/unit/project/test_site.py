"""`make docs`: the manual as a site. It builds without a warning and without the network, and every
link, anchor and picture on its pages leads somewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.support.manual import build

pytest.importorskip("sphinx", reason="Sphinx is not installed: pip install -e '.[docs]'")
pytest.importorskip("furo", reason="furo is not installed: pip install -e '.[docs]'")
pytest.importorskip("myst_parser", reason="MyST is not installed: pip install -e '.[docs]'")

ROOT = Path(__file__).parents[3]
LOADS = {("img", "src"), ("script", "src"), ("source", "srcset"), ("iframe", "src")}
"""What a browser fetches without being asked; so does it the `href` of `link`."""


@dataclass
class Page(HTMLParser):
    """What one page refers to, and what others may refer to on it."""

    file: Path
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.file.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.ids.add(value)
            elif (tag, name) in LOADS or (tag, name) == ("link", "href"):
                self.loads.append(value or "")
            elif (tag, name) == ("a", "href"):
                self.links.append(value or "")


@pytest.fixture(scope="module")
def site(manual: Path) -> dict[Path, Page]:
    """The pages of the site by their files."""
    return {file: Page(file) for file in sorted(manual.glob("*.html"))}


def test_every_page_of_the_manual_is_on_the_site_and_in_its_navigation(
    site: dict[Path, Page],
) -> None:
    (index,) = [page for file, page in site.items() if file.name == "index.html"]
    pages = {f"{file.stem}.html" for file in ROOT.glob("docs/*.md")}
    assert pages <= {file.name for file in site}
    assert pages - {"index.html"} <= set(index.links)


def test_links_anchors_and_pictures_lead_somewhere(site: dict[Path, Page]) -> None:
    wrong, seen = [], 0
    for file, page in site.items():
        for link in [*page.links, *page.loads]:
            parts = urlsplit(link)
            if parts.scheme in ("https", "http", "data"):
                continue
            seen += 1
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            if not target.exists():
                wrong.append(f"{file.name}: {link} does not exist")
            elif parts.fragment and target in site and parts.fragment not in site[target].ids:
                wrong.append(f"{file.name}: {link}: no such anchor")
    assert seen > 1000
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("page", "module"),
    [("python", "jobd"), ("python", "jobd.testing"), ("api-classes", "jobd.api")],
)
def test_the_reference_has_every_public_name(
    site: dict[Path, Page], page: str, module: str
) -> None:
    (found,) = [each.ids for file, each in site.items() if file.name == f"{page}.html"]
    public = import_module("jobd.public" if module == "jobd" else module)
    assert {f"{module}.{name}" for name in public.__all__} <= found


def test_no_page_loads_anything_from_elsewhere(site: dict[Path, Page]) -> None:
    remote = [
        f"{file.name}: {load}"
        for file, page in site.items()
        for load in page.loads
        if urlsplit(load).netloc
    ]
    assert not remote
    for style in next(iter(site)).parent.rglob("*.css"):
        assert "url(http" not in style.read_text(), style
        assert "@import" not in style.read_text(), style


def test_a_wrong_link_is_an_error(tmp_path: Path) -> None:
    source = tmp_path / "docs"
    source.mkdir()
    (source / "conf.py").write_text((ROOT / "docs/conf.py").read_text())
    (source / "site").mkdir()
    (source / "index.md").write_text(
        "# Index\n\n[Jobs](jobs.md#retires)\n\n## Pages\n\n[a](a.md)\n"
    )
    (source / "a.md").write_text("# A\n\n[there](b.md)\n")
    (source / "jobs.md").write_text("# Jobs\n\n## Retries\n")
    done = build(source, tmp_path / "out")
    assert done.returncode != 0
    for problem in ("'retires'", "'b.md'", "included in any toctree"):
        assert problem in done.stderr, done.stderr
