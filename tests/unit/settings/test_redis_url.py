"""The URL of Redis: what is taken, what is refused, and that no part of a password is shown."""

from __future__ import annotations

import re
import string
from typing import Any

import pytest
import redis as redis_py
from hypothesis import given
from hypothesis import strategies as st
from redis import connection as library

from jobd import Client
from jobd.errors import ConfigError
from jobd.settings.load import read as read_settings
from jobd.settings.redis_url import OPTIONS, REFUSED, read, redact
from jobd.settings.schema import Invalid
from jobd.store.connection import connect
from jobd.text.masking import mask
from tests.unit.project.test_manual import ROOT, rows

PAGE = ROOT / "docs/configuration.md"
SECRET = "Xs3cret"


def examples() -> list[str]:
    return [url for *_, cell in rows(PAGE, "url forms") for url in re.findall("`(.*?)`", cell)]


@pytest.mark.parametrize("url", examples())
def test_the_examples_of_the_manual_are_read_as_the_client_library_reads_them(url: str) -> None:
    found = read(url)
    if found.service:
        assert found.hosts == (("s1", 26379), ("s2", 26379), ("::1", 26379))
        assert (found.service, found.options["password"]) == ("jobs", "secret")
        assert found.options["sentinel_password"] == "other"
    else:
        theirs: Any = getattr(library, "parse_url")(url)  # noqa: B009 - which has no types
        place = found.path or found.hosts[0]
        assert place in (theirs.get("path"), (theirs.get("host"), theirs.get("port", 6379)))
        assert found.options == {
            name: value
            for name, value in theirs.items()
            if name not in ("host", "port", "path", "connection_class")
        }
    assert "secret" not in redact(url)
    assert connect(url).connection_pool is not None


def test_every_option_of_the_client_library_is_taken_or_refused_with_a_reason() -> None:
    of_urls = {
        name for name in library.URL_QUERY_ARGUMENT_PARSERS if not name.endswith("_verify_flags")
    }
    assert of_urls <= OPTIONS.keys() | REFUSED.keys()
    text = PAGE.read_text()
    assert [name for name in REFUSED if f"`{name}`" not in text] == []


@pytest.mark.parametrize(
    ("url", "text"),
    [
        (f"redis://:{SECRET}/more@h/0", "must be escaped in a URL: write %2F for /"),
        (f"redis://:{SECRET}?more@h/0", "must be escaped"),
        (f"redis://:{SECRET}#more@h/0", "must be escaped"),
        (f"redis://:{SECRET} more@h/0", "must be escaped"),
        (f"redis://:{SECRET}\n@h/0", "must be escaped"),
        (f"redis://:12/{SECRET}@h/0", "must be escaped"),
        (f"redis://h:12?client_name={SECRET}@h/0", "must be escaped"),
        (f"redis://{SECRET}/x:y@h", "must be escaped"),
        (f"redis://{SECRET}@x:y@h", "must be escaped"),
        (f"unix://:{SECRET}@/run/a@b", "must be escaped"),
        (f"redis://{SECRET}@h/0", "has a user and no password"),
        (f"redis+sentinel://{SECRET}@h/jobs", "has a user and no password"),
        (SECRET, "must be redis://HOST:PORT/DB"),
        (f"http://:{SECRET}@h", "must be redis://HOST:PORT/DB"),
        (f"redis:/:{SECRET}@h", "must be redis://HOST:PORT/DB"),
        (f"unix://:{SECRET}/run/x", "must hold the absolute path of a socket"),
        ("unix://run/redis.sock", "must hold the absolute path of a socket"),
        ("unix://", "must hold the absolute path"),
        (f"redis://h:{SECRET}", "has an invalid host or port"),
        ("redis://h:0", "has an invalid host or port"),
        ("redis://h:65536", "has an invalid host or port"),
        ("redis://::1/0", "has an invalid host or port"),
        ("redis://a,b/0", "has an invalid host or port"),
        ("redis+sentinel://a,b", "does not name a service"),
        (f"redis://:{SECRET}@h/jobs", "has a database that is not a number"),
        (f"redis+sentinel://:{SECRET}@h/jobs/x", "has a database that is not a number"),
        (f"redis://:{SECRET}@h?db=-1", "invalid value for db: it must be a whole number"),
        (f"redis://:{SECRET}@h?socket_timeout=0", "invalid value for socket_timeout"),
        (f"redis://:{SECRET}@h?socket_timeout=nan", "invalid value for socket_timeout"),
        (f"redis://:{SECRET}@h?protocol=3", "invalid value for protocol: it must be 2"),
        (f"redis://:{SECRET}@h?decode_responses=1", "does not accept: jobs are bytes; remove it"),
        (f"redis://:{SECRET}@h?max_connections=1", "opens as many connections"),
        (
            f"redis://:{SECRET}@h?host=x",
            'has the option "host", which jobd does not accept; remove',
        ),
        (f"redis://:{SECRET}@h?ssl_cert_reqs=none", "which is for rediss:// only"),
        (f"rediss://:{SECRET}@h?ssl_cert_reqs=CERT_NONE", "none, optional or required"),
        ("unix:///x?socket_keepalive=1", "socket_keepalive, which is for TCP only"),
        (f"redis://h?sentinel_password={SECRET}", "is for redis+sentinel:// only"),
        (f"redis://h?password={SECRET}&password=x", "has the option password twice"),
        (f"redis://h?{SECRET}", "has something after the ? that is not OPTION=VALUE"),
    ],
)
def test_what_is_refused_says_why_everywhere_and_shows_nothing(url: str, text: str) -> None:
    with pytest.raises(Invalid) as refused:
        read(url)
    assert text in str(refused.value)
    with pytest.raises(ConfigError) as raised:
        Client(url).push({"class": "A", "args": []})
    assert text in str(raised.value)
    (problem,) = read_settings(None, {"JOBD_REDIS": url}, {}).problems
    said = (str(refused.value), str(raised.value), problem, redact(url))
    assert [each for each in said if SECRET in each or "more" in each] == []


def test_what_is_around_and_how_the_scheme_is_written_does_not_matter() -> None:
    assert read(" REDIS://:pw@h//0 ") == read("redis://:pw@h:6379/0")


PASSWORDS = st.text(string.printable, min_size=4).filter(lambda text: not text.isspace())
SHAPES = [
    "{scheme}://{password}@h:1/0",
    "{scheme}://:{password}@h:1/0",
    "{scheme}://app:{password}@h:1/0",
    "{scheme}://{password}:x@h:1/0",
    "{scheme}://:{password}@/run/x.sock?db=1",
    "{scheme}://:{password}@a:1,b:2/jobs/1",
    "{scheme}://h:1/0?password={password}",
    "{scheme}://h:1/0?db=1&sentinel_password={password}&socket_timeout=3",
    "{scheme}:{password}@h",
]


@given(
    st.sampled_from(["redis", "rediss", "unix", "redis+sentinel", "http", "Redis"]),
    st.sampled_from(SHAPES),
    PASSWORDS,
)
def test_no_password_of_any_characters_is_shown(scheme: str, shape: str, password: str) -> None:
    password = f"\u00e9{password}\u00e9"  # none of the shapes has this character
    url = shape.format(scheme=scheme, password=password)
    said = redact(url)
    try:
        read(url)
    except Invalid as refused:
        said += str(refused)
    # Before a colon it is the name of a user, if it can be one.
    if ":x@" not in shape and not (shape == SHAPES[0] and ":" in password):
        assert "\u00e9" not in said


@pytest.mark.parametrize("scheme", ["redis", "rediss", "unix", "redis+sentinel"])
@pytest.mark.parametrize(
    "place",
    ["{}@h:1/0", ":{}@h:1/0", "app:{}@h", "{}/x:y@h", "{}?x:y@h", "{}#x:y@h", "a/{}@h", "a/b:{}@h"],
)
def test_a_text_that_mentions_a_url_shows_no_password(scheme: str, place: str) -> None:
    for secret in (SECRET, f"{SECRET}/{SECRET}", f"{SECRET}@{SECRET}", f"{SECRET}?a:{SECRET}"):
        assert SECRET not in mask(f"cannot reach {scheme}://{place.format(secret)}, sorry")


def test_what_is_no_password_stays() -> None:
    for text in ("see https://example.com/@user/post", "a@b.example, https://h:80/x?y=1"):
        assert mask(text) == text
    assert (
        mask("postgres://app:pw@db/x and redis://h:1/0")
        == "postgres://app:***@db/x and redis://h:1/0"
    )


def test_values_reach_the_connections() -> None:
    made = connect("redis://h/1?socket_timeout=2&socket_keepalive=no&client_name=jobs&db=3")
    options = made.get_connection_kwargs()
    assert (options["socket_timeout"], options["socket_keepalive"]) == (2.0, False)
    assert (options["client_name"], options["db"]) == ("jobs", 3)
    assert isinstance(made, redis_py.Redis)
