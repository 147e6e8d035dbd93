"""The setting ``slo``."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobd.errors import ConfigError
from jobd.settings.load import load
from jobd.settings.schema import Objective

WANTED = (Objective("default", 30.0), Objective("mail", 0.5))


def test_it_is_a_table_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "jobd.toml"
    file.write_text("slo = { default = 30, mail = 0.5 }\n")
    assert load(str(file), {}, {}).slo == WANTED
    file.write_text("[environments.production.slo]\ndefault = 30\nmail = 0.5\n")
    assert load(str(file), {"JOBD_ENV": "production"}, {}).slo == WANTED
    assert load(str(file), {}, {}).slo == ()


def test_it_is_a_flag_and_a_variable() -> None:
    assert load(None, {"JOBD_SLO": "default=30 mail=0.5"}, {}).slo == WANTED
    assert load(None, {}, {"slo": ("default=30", "mail=0.5")}).slo == WANTED
    assert " ".join(map(str, WANTED)) == "default=30 mail=0.5"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("30", "must be a table like { default = 30 }, not 30"),
        ("{ default = 0 }", "more than 0 and at most 604,800"),
        ("{ default = -1 }", "more than 0"),
        ("{ default = nan }", "more than 0"),
        ("{ default = inf }", "more than 0"),
        ('{ default = "30" }', "must be a number of seconds"),
        ("{ default = true }", "must be a number of seconds"),
        ("{ default = { a = 1 } }", "must be a number of seconds"),
        ('{ "a b" = 3 }', 'has the queue name "a b"'),
        ('{ "" = 3 }', "has an empty queue name"),
        ('["default=1", "default=2"]', 'names the queue "default" twice'),
        ('["default"]', "must hold QUEUE=SECONDS"),
        ('["default=soon"]', "must be a number of seconds"),
        ("[30]", "must hold QUEUE=SECONDS"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, written: str, said: str) -> None:
    file = tmp_path / "jobd.toml"
    file.write_text(f"slo = {written}\n")
    with pytest.raises(ConfigError) as raised:
        load(str(file), {}, {})
    assert f"{file}: slo " in str(raised.value)
    assert said in str(raised.value)
