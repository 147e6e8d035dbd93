"""Which language a page is in, and what happens to translations that are not as they should be."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from jobd.api import Api
from jobd.errors import ConfigError
from jobd.text.translatable import Text
from jobd.web import Role, User, dashboard
from jobd.web.language import DOMAIN, PACKAGED, Languages, gettext, ngettext, speaking
from tests.web.frame import browser

ROOT = Path(__file__).parents[2]


def translated(directory: Path, tag: str, **texts: str) -> None:
    """Write a catalogue, with texts by their English words."""
    catalogue = Catalog()
    for text, translation in texts.items():
        catalogue.add(text, translation)
    catalogue.add(("%(count)s job", "%(count)s jobs"), (f"{tag}: %(count)s", f"{tag}s: %(count)s"))
    catalogue.add("No %(jobs)s in <b>%(queue)s</b>", "%(queue)s: %(jobs)s <i>?")
    catalogue.add("It is %(how)s", "It is %(what)s")
    place = directory / tag / "LC_MESSAGES"
    place.mkdir(parents=True)
    with (place / f"{DOMAIN}.mo").open("wb") as file:
        write_mo(file, catalogue)


@pytest.fixture
def languages(tmp_path: Path) -> Languages:
    translated(tmp_path, "de", Queues="Schlangen", Dead="Tot")
    translated(tmp_path, "pt_BR", Queues="Filas")
    return Languages(str(tmp_path))


@pytest.mark.parametrize(
    ("header", "tag"),
    [
        ("", "en"),
        ("de", "de"),
        ("de-AT, en;q=0.5", "de"),
        ("DE-at", "de"),
        ("fr, de;q=0.3", "de"),
        ("en-GB, de", "en"),
        ("de;q=0.4, pt-BR;q=0.9", "pt-BR"),
        ("pt", "pt-BR"),
        ("de;q=0, fr", "en"),
        ("*", "en"),
        ("\x00;;,q=1;de;;;" * 1_000, "en"),
    ],
)
def test_the_language_that_the_browser_prefers(languages: Languages, header: str, tag: str) -> None:
    assert languages.preferred(header).tag == tag


def test_texts_and_what_is_in_them(languages: Languages) -> None:
    with speaking(languages.preferred("de")):
        assert gettext("Queues") == "Schlangen"
        assert gettext("Busy") == "Busy", "not translated"
        assert gettext("") == ""
        assert ngettext("%(count)s job", "%(count)s jobs", 1) == "de: 1"
        jobs = Text.counted("%(count)s job", "%(count)s jobs", 2000)
        text = Text("No %(jobs)s in <b>%(queue)s</b>", jobs=jobs, queue="<mail>")
        assert gettext(text) == "<mail>: des: 2,000 <i>?"
        assert text == "No 2,000 jobs in <b><mail></b>", "a program sees English"
        assert gettext(Text("It is %(how)s", how="so")) == "It is so", "that place does not exist"
    assert gettext("Queues") == "Queues"


def test_a_page_says_which_language_it_is_in(
    api: Api, languages: Languages, tmp_path: Path
) -> None:
    app = dashboard(api, login=lambda _: User("x", Role.VIEWER), translations=str(tmp_path))
    client = browser(app)
    page = client.get("/queues", headers={"accept-language": "de"})
    assert "<h1>Schlangen</h1>" in page.text
    assert '<html lang="de">' in page.text
    assert page.headers["content-language"] == "de"
    assert "Accept-Language" in page.headers["vary"]
    english = client.get("/queues", headers={"accept-language": "fr"})
    assert '<html lang="en">' in english.text
    assert english.headers["content-language"] == "en"
    # What is for programs is the same for all.
    stats = client.get("/api/v1/stats", headers={"accept-language": "de"})
    assert not {"content-language", "vary"} & set(stats.headers)
    gone = client.get("/api/v1/job?queue=a&key=b", headers={"accept-language": "de"})
    assert "lang" not in str(gone.headers)


def test_without_translations_nothing_varies(api: Api) -> None:
    client = browser(dashboard(api, login=lambda _: User("x", Role.VIEWER)))
    page = client.get("/queues", headers={"accept-language": "de"})
    assert page.headers["content-language"] == "en"
    assert "Accept-Language" not in page.headers.get("vary", "")


def test_what_cannot_be_read_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a directory"):
        Languages(str(tmp_path / "nowhere"))
    place = tmp_path / "de/LC_MESSAGES"
    place.mkdir(parents=True)
    (place / f"{DOMAIN}.mo").write_bytes(b"no catalogue")
    with pytest.raises(ConfigError, match="pybabel compile"):
        Languages(str(tmp_path))


def test_the_template_has_the_texts_of_the_sources(tmp_path: Path) -> None:
    recipe = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    found = re.search(r"pybabel (extract .*) -o (\S+) \.$", recipe, re.MULTILINE)
    assert found
    command = [sys.executable, "-m", "babel.messages.frontend", *shlex.split(found[1])]
    made = tmp_path / "made.pot"
    subprocess.run([*command, "-o", str(made), "."], cwd=ROOT, check=True, capture_output=True)
    assert messages(made) == messages(ROOT / found[2]), "run make texts"


def messages(file: Path) -> list[tuple[object, object]]:
    found = read_po(BytesIO(file.read_bytes()))
    return sorted(((one.id, one.locations) for one in found if one.id), key=repr)


def test_an_installed_dashboard_has_the_template_and_catalogues(tmp_path: Path) -> None:
    """A wheel is made of what ``build`` collects."""
    source = tmp_path / "source"
    copied = ["setup.py", "README.md", "pyproject.toml", "jobd", "jobctl", "examples"]
    source.mkdir()
    for name in copied:
        subprocess.run(["cp", "-r", str(ROOT / name), str(source)], check=True)
    translated(source / "jobd/web/locale", "de", Queues="Schlangen")
    command = [sys.executable, "setup.py", "-q", "build", "--build-lib", str(tmp_path / "built")]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    built = tmp_path / "built/jobd/web/locale"
    assert (built / f"{DOMAIN}.pot").read_bytes() == (PACKAGED / f"{DOMAIN}.pot").read_bytes()
    assert (built / f"de/LC_MESSAGES/{DOMAIN}.mo").is_file()
