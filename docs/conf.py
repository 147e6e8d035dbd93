"""The manual as a site: `make docs` builds it into build/docs, without the network.

The pages are Markdown that reads well on a code host, too. What differs on the site is done here,
when a page is read: index.md's lists become the navigation, the README and the changelog become
pages, and `<picture>` becomes a picture for light and one for dark.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from sphinx.application import Sphinx

from jobd.version import VERSION

ROOT = Path(__file__).parents[1]

project = "jobd"
release = VERSION
copyright = "the authors of jobd, under the MIT license"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["benchmarks/*"]
nitpicky = False  # no inventory of other projects is fetched

myst_heading_anchors = 4
myst_enable_extensions = ["html_image"]

html_theme = "furo"
html_title = "jobd"
html_copy_source = False
html_show_sphinx = False
html_static_path = ["site"]
html_css_files = ["site.css"]

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True
napoleon_use_rtype = False
napoleon_use_ivar = True  # attributes of a docstring are fields of it, and not listed twice
suppress_warnings = ["ref.python"]  # several classes have an attribute of that name

OF_THE_ROOT = {
    "overview": "README.md",
    "changelog": "CHANGELOG.md",
    "examples": "examples/README.md",
}
"""Pages whose text is a file outside of docs/. Links to other files there lose their target."""

_LINK = re.compile(r"\](?=\()(?!\([a-z+]+:|\(#)\(([^)#\s]+)(#[^)\s]+)?\)")
_OUTSIDE = re.compile(r"\[([^][]+)\]\(\.\./([^)\s]+)\)")
_PICTURE = re.compile(r"<picture>\n<source [^>]*srcset=\"(.+?)\">\n<img (.+?)>\n</picture>")
_SECTION = re.compile(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_PAGE = re.compile(r"\[([^][]+)\]\(([\w-]+)\.md\)")


def read(_app: Sphinx, name: str, text: list[str]) -> None:
    """Change the text of a page before it is parsed."""
    folder, source = "docs", text[0]
    if name in OF_THE_ROOT:
        file = ROOT / OF_THE_ROOT[name]
        folder, source = str(file.parent.relative_to(ROOT)), file.read_text(encoding="utf-8")
    source = _LINK.sub(lambda link: f"]({on_site(folder, link[1])}{link[2] or ''})", source)
    source = _OUTSIDE.sub(r"\1 (`\2`)", source)
    source = _PICTURE.sub(pictures, source)
    text[0] = _SECTION.sub(navigation, source) if name == "index" else source


def on_site(folder: str, link: str) -> str:
    """Where a *link* of a file in *folder* leads on the site."""
    path = posixpath.normpath(posixpath.join(folder, link))
    for name, file in OF_THE_ROOT.items():
        if path == file:
            return f"{name}.md"
    return posixpath.relpath(path, "docs")


def pictures(found: re.Match[str]) -> str:
    """A picture for the light and one for the dark, of which the theme shows one."""
    dark, light = found[1], re.sub(r"(?<=src=\")docs/", "", found[2])
    of_dark = re.sub(r"src=\"[^\"]+\"", f'src="{dark.removeprefix("docs/")}"', light)
    return f'<img class="only-light" {light}>\n\n<img class="only-dark" {of_dark}>'


def navigation(section: re.Match[str]) -> str:
    """A section of the index, and its pages as an invisible table of contents."""
    named = {page: text for text, page in reversed(_PAGE.findall(section[0]))}
    pages = "\n".join(
        f"{text} <{page}>" if page in OF_THE_ROOT else page
        for page, text in reversed(named.items())
    )
    return f"{section[0]}\n```{{toctree}}\n:hidden:\n:caption: {section[1]}\n\n{pages}\n```\n\n"


def setup(app: Sphinx) -> None:
    """Connect the change to the reading of pages."""
    app.connect("source-read", read)
