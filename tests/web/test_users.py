"""Users and tokens of the settings, and where a request is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette._utils import get_route_path

from jobd.api.roles import Role
from jobd.errors import ConfigError
from jobd.web.access.users import User, Users, hash_password, hash_token
from jobd.web.mount import is_loopback, network, path_within, prefix

DIGEST = hash_token("a token")


@pytest.mark.parametrize(
    ("users", "tokens", "text"),
    [
        (["alice"], [], "a user is NAME:ROLE:HASH; entry 1 is not"),
        (["alice:admin"], [], "entry 1 is not"),
        ([":admin:x"], [], "entry 1 is not"),
        (["alice:root:x"], [], "unknown role 'root'; use viewer, operator, admin"),
        (["alice:admin:hunter2"], [], "not hashed; make a new entry with: jobd web-password alice"),
        (["alice:admin:scrypt$$"], [], "is not hashed"),
        (["alice:admin:scrypt$AAAA$AAAA"], [], "is not hashed"),
        (["alice:admin:scrypt$!$!"], [], "is not hashed"),
        (["alice:admin:bcrypt$AAAA$AAAA"], [], "is not hashed"),
        (["a\nb:admin:x"], [], "has control characters"),
        (["x" * 101 + ":admin:x"], [], "is too long"),
        ("alice:admin:x", [], "must be a list"),
        ([], ["ci:admin:hunter2"], "the token ci is not hashed"),
        ([], [f"ci:admin:{DIGEST}", f"ci:viewer:{DIGEST}"], "the token ci is there twice"),
        (
            [],
            [f"ci:admin:{DIGEST}", f"cd:viewer:{DIGEST.upper()}"],
            "ci and cd have the same token",
        ),
    ],
)
def test_wrong_entries_are_refused_without_showing_them(
    users: list[str], tokens: list[str], text: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        Users(users, tokens)
    assert text in str(caught.value)
    assert "hunter2" not in str(caught.value)


@given(st.text(min_size=1, max_size=20))
@settings(max_examples=8, deadline=None)
def test_any_password_is_itself_and_no_other(password: str) -> None:
    users = Users([f"ada:operator:{hash_password(password)}"])
    assert users.with_password("ada", password) == User("ada", Role.OPERATOR)
    assert users.with_password("ada", password + " ") is None
    assert users.with_password("bob", password) is None


def test_the_same_password_has_another_hash_each_time() -> None:
    assert hash_password("x") != hash_password("x")


def test_a_token_may_be_written_in_upper_case() -> None:
    users = Users([], [f"ci:viewer:{DIGEST.upper()}"])
    assert users.with_token("a token") == User("ci", Role.VIEWER)
    assert users.with_token("") is None


_PATHS = st.text(alphabet="/ab.?#%é \\", max_size=12).map(lambda text: "/" + text)


@given(_PATHS, st.one_of(st.just(""), _PATHS))
def test_the_gate_looks_at_the_same_path_as_the_router(path: str, root: str) -> None:
    """Or something public for the one could be something else for the other."""
    root = root.rstrip("/")
    for whole in (path, root + path, root):
        scope = {"type": "http", "path": whole, "root_path": root}
        assert path_within(scope) == get_route_path(scope)


@given(st.text(max_size=30))
def test_an_address_of_ours_never_leads_to_another_host(root: str) -> None:
    found = prefix({"root_path": root})
    assert found.isascii()
    assert not found.startswith("//")
    assert found == "" or found.startswith("/")
    assert not set(found) & set(' \\?#";\r\n')


def test_addresses_are_counted_by_who_has_them() -> None:
    counted = [
        network({"client": (address, 1)})
        for address in ("192.0.2.7", "::ffff:192.0.2.7", "fe80::1%eth0", "x" * 1000)
    ]
    assert counted == ["192.0.2.7", "192.0.2.7", "fe80::/64", "x" * 100]
    assert network({"client": None}) == ""
    assert network({"client": None, "wsgi_environ": {"REMOTE_ADDR": "192.0.2.8"}}) == "192.0.2.8"


@pytest.mark.parametrize(
    ("host", "here"),
    [("localhost", True), ("127.9.9.9", True), ("::1", True), ("0.0.0.0", False), ("x", False)],
)
def test_this_machine(host: str, here: bool) -> None:
    assert is_loopback(host) is here
