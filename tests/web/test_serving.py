"""``jobd web``: how it starts, what it refuses, how it ends, and how it does behind a proxy."""

from __future__ import annotations

import base64
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest
import redis as redis_py

from jobd.api.roles import Role
from jobd.errors import Exit
from jobd.testing import EmbeddedServer
from jobd.web.access.users import Users
from tests.support.daemon import environment, wait
from tests.web.frame import PASSWORDS, TOKEN, TOKENS, bearer, token_of, users
from tests.web.serving import get, proxy, serving

SETTINGS = {"JOBD_WEB_USERS": " ".join(users()), "JOBD_WEB_TOKENS": " ".join(TOKENS)}


@pytest.fixture
def here(server: EmbeddedServer, redis: redis_py.Redis) -> dict[str, str]:
    """The environment of a dashboard without users."""
    return {"JOBD_REDIS": server.url}


@pytest.fixture
def guarded(here: dict[str, str]) -> dict[str, str]:
    """The same with users."""
    return here | SETTINGS


def run(
    *arguments: str, settings: dict[str, str] | None = None, given: str = ""
) -> tuple[int, str]:
    """The exit code of ``jobd`` and what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "jobd", *arguments],
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=30,
        env=environment(settings),
        check=False,
    )
    return done.returncode, done.stdout


# -- starting ------------------------------------------------------------------------------------


def test_the_first_minute(tmp_path: Path, here: dict[str, str]) -> None:
    with serving(tmp_path, settings=here) as served:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", served.url)
        page = get(served.url)
        assert page.status_code == 200
        assert "local · admin" in page.text
        assert "uvicorn" not in str(page.headers).lower()
        assert served.said.count("\n") == 1


def test_the_password_of_redis_is_not_shown(tmp_path: Path) -> None:
    url = "redis://app:hunter2@127.0.0.1:1/0"
    with serving(tmp_path, settings={"JOBD_REDIS": url}) as served:
        assert get(served.url).status_code == 503
        assert "redis://app:***@127.0.0.1:1/0" in served.said
        assert "hunter2" not in served.said


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.7"])
def test_without_users_it_listens_here_only(address: str, here: dict[str, str]) -> None:
    code, said = run("web", "-p", "0", "-b", address, settings=here)
    assert code == Exit.CONFIG
    assert "without users the dashboard listens on a loopback address only" in said
    assert "jobd web-password" in said
    assert said.count("\n") == 1


def test_with_users_it_listens_anywhere(tmp_path: Path, guarded: dict[str, str]) -> None:
    with serving(tmp_path, "-b", "0.0.0.0", settings=guarded) as served:
        # What it prints is an address that others can open: it has the name of the machine.
        assert served.url.startswith(f"http://{socket.gethostname()}:")
        url = served.url.replace(socket.gethostname(), "127.0.0.1")
        assert get(url).headers["location"] == "/login"
        assert get(f"{url}api/v1/stats", headers=bearer()).status_code == 200


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
@pytest.mark.parametrize("name", ["::1", "[::1]"])
def test_ipv6(tmp_path: Path, here: dict[str, str], name: str) -> None:
    with serving(tmp_path, "-b", name, settings=here) as served:
        assert served.url.startswith("http://[::1]:")
        assert get(served.url).status_code == 200


def test_a_name_is_looked_up(tmp_path: Path, here: dict[str, str]) -> None:
    with serving(tmp_path, "-b", "localhost", settings=here) as served:
        assert get(served.url).status_code == 200
    code, said = run("web", "-b", "::g", settings=here)
    assert code == Exit.CONFIG
    assert said.startswith("jobd: cannot listen on ::g port 7420: ")
    code, said = run("web", "-b", "192.0.2.7", settings=here | SETTINGS)
    assert code == Exit.CONFIG
    assert said == ("jobd: cannot listen on 192.0.2.7 port 7420: Cannot assign requested address\n")


def test_a_port_that_is_taken(here: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, said = run("web", "-p", str(port), settings=here)
    assert code == Exit.UNAVAILABLE
    assert said == (
        f"jobd: cannot listen on 127.0.0.1 port {port}: Address already in use; another program "
        "is there, maybe another `jobd web`. Choose another port with -p\n"
    )


@pytest.mark.parametrize(
    ("variable", "value", "text"),
    [
        ("JOBD_WEB_USERS", "alice:admin:plain", "the password of user alice is not hashed"),
        ("JOBD_WEB_USERS", "alice:boss:x", "unknown role 'boss'"),
        ("JOBD_WEB_USERS", "hunter2", "a user is NAME:ROLE:HASH; entry 1 is not"),
        ("JOBD_WEB_TOKENS", "ci:admin:hunter2", "the token ci is not hashed"),
        ("JOBD_WEB_SECRET", "short", "must have at least 16 characters"),
        ("JOBD_WEB_PATH", "jobs", "must be like /jobs"),
        ("JOBD_WEB_PATH", "/a/../b", "must be like /jobs"),
        ("JOBD_WEB_PATH", "//evil.example", "must be like /jobs"),
        ("JOBD_WEB_PATH", "/api/x", "/api is an address of the dashboard"),
        ("JOBD_WEB_PROXIES", "proxy.local", "must hold addresses or networks"),
        ("JOBD_WEB_BIND", " ", "must not contain an empty text"),
        ("JOBD_WEB_PORT", "70000", "must be at most 65535"),
    ],
)
def test_wrong_settings_are_refused(
    here: dict[str, str], variable: str, value: str, text: str
) -> None:
    code, said = run("web", "-p", "0", settings={**here, variable: value})
    assert code == Exit.CONFIG
    assert text in said
    assert "hunter2" not in said
    assert said.count("\n") == 1


def test_without_its_packages_it_says_which_one_is_missing(here: dict[str, str]) -> None:
    code = (
        "import sys; sys.modules['starlette'] = None\n"
        "from jobd.cli.main import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "web"],
        capture_output=True,
        text=True,
        env=environment(here),
        check=False,
    )
    assert done.returncode == Exit.CONFIG
    assert done.stderr == (
        "jobd: the dashboard needs the package starlette: run pip install 'pyjobd[web]'\n"
    )


def test_users_and_checks_need_none_of_its_packages() -> None:
    blocked = "import sys; sys.modules.update(dict.fromkeys(('starlette', 'jinja2', 'uvicorn')));"
    code = f"{blocked} from jobd.cli.main import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "web-password", "alice"],
        input="correct horse\n",
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert done.returncode == 0, done.stderr


# -- ending --------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_at_once_with_pages_open(
    tmp_path: Path, here: dict[str, str], number: signal.Signals
) -> None:
    with (
        serving(tmp_path, settings=here) as served,
        httpx2.stream("GET", served.url + "live", timeout=20) as stream,
    ):
        lines = stream.iter_lines()
        assert next(lines) == "retry: 3000"
        began = time.monotonic()
        assert served.end(number) == Exit.OK
        assert time.monotonic() - began < 3
        assert "event: again" not in list(lines)


def test_a_signal_before_it_serves_is_not_lost(tmp_path: Path, here: dict[str, str]) -> None:
    """It comes between the first line and the loop."""
    code = """
import os, signal, sys, click
echo = click.echo
def said(text, **given):
    echo(text, **given)
    os.kill(os.getpid(), signal.SIGTERM)
click.echo = said
from jobd.cli.main import main
sys.exit(main())
"""
    with serving(tmp_path, settings=here, code=code) as served:
        assert served.process.wait(10) == Exit.OK
        assert "jobd web: http" in served.said


def test_a_request_that_hangs_does_not_keep_it(tmp_path: Path, here: dict[str, str]) -> None:
    with serving(tmp_path, settings=here) as served:
        url = httpx2.URL(served.url)
        with socket.create_connection((url.host, url.port or 0)) as slow:
            slow.sendall(b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\na")
            assert get(served.url).status_code == 200
            began = time.monotonic()
            assert served.end(signal.SIGTERM, 20) == Exit.OK
            assert time.monotonic() - began < 10


def test_who_never_ends_his_headers_is_left(tmp_path: Path, here: dict[str, str]) -> None:
    code = """
import sys
from jobd.web.serving import protocol
protocol.HEADERS_WITHIN = 0.3
from jobd.cli.main import main
sys.exit(main())
"""
    with serving(tmp_path, settings=here, code=code) as served:
        url = httpx2.URL(served.url)
        place = (url.host, url.port or 0)
        whole = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        for start in (b"", b"GET /healthz HT", b"GET /healthz HTTP/1.1\r\nHost: l", whole + b"GE"):
            with socket.create_connection(place, timeout=10) as slow:
                slow.sendall(start)
                received = b""
                while chunk := slow.recv(65536):
                    received += chunk
                assert received.count(b"200 OK") == (1 if start.startswith(whole) else 0)
        # Who takes longer to get his answer, or between two requests, is not.
        with httpx2.stream("GET", served.url + "live", timeout=20) as stream:
            events = (line for line in stream.iter_lines() if line == "event: stats")
            assert [next(events), next(events)]


def test_what_is_no_http_is_refused(tmp_path: Path, here: dict[str, str]) -> None:
    with serving(tmp_path, settings=here) as served:
        url = httpx2.URL(served.url)
        for sent in (
            b"\x16\x03\x01\x02\x00 TLS",
            b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
            b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n",
        ):
            with socket.create_connection((url.host, url.port or 0), timeout=10) as raw:
                raw.sendall(sent)
                assert raw.recv(65536).startswith(b"HTTP/1.1 400")
        assert get(served.url).status_code == 200


# -- Redis ---------------------------------------------------------------------------------------


def test_it_starts_without_redis_and_recovers(tmp_path: Path) -> None:
    with EmbeddedServer(tcp=True) as server:
        url = server.url
        server.stop()
        with serving(tmp_path, settings={"JOBD_REDIS": url}) as served:
            page = get(served.url)
            assert page.status_code == 503
            assert "Redis does not answer" in page.text
            assert get(served.url + "readyz").status_code == 503
            assert get(served.url + "healthz").status_code == 200
            server.start()
            wait(lambda: get(served.url + "readyz").status_code == 200, 10, "Redis is back")
            wait(lambda: get(served.url).status_code == 200, 10, "the page is back")
            server.stop()
            wait(lambda: get(served.url).status_code == 503, 10, "it says so")
            assert get(served.url).status_code == 503
            assert 1 <= served.said.count("redis_unavailable") <= 3, "once for each trouble"
            with httpx2.stream("GET", served.url + "live", timeout=20) as stream:
                lines = stream.iter_lines()
                wait(lambda: next(lines) == "event: trouble", 10, "open pages are told")


# -- behind a proxy --------------------------------------------------------------------------------


@pytest.mark.parametrize("strips", [True, False])
def test_behind_a_proxy_under_a_path(tmp_path: Path, guarded: dict[str, str], strips: bool) -> None:
    with (
        serving(tmp_path, "--path", "/ops/jobs", settings=guarded) as served,
        proxy(served.url.removesuffix("/ops/jobs/"), "/ops/jobs", strips=strips) as outside,
        httpx2.Client(timeout=20, follow_redirects=True) as client,
    ):
        page = client.get(f"{outside}/?days=7")
        assert page.url.path == "/ops/jobs/login"
        given = {"name": "alice", "password": PASSWORDS["alice"], "csrf": token_of(page)}
        origin = {"Origin": outside.removesuffix("/ops/jobs")}
        home = client.post(str(page.url), data={**given, "next": "/?days=7"}, headers=origin)
        assert str(home.url) == f"{outside}/?days=7"
        assert "alice · admin" in home.text
        addresses = re.findall(r'(?:href|src|action|data-live|data-stats)="(/[^"]*)"', home.text)
        assert len(addresses) > 8
        for address in addresses:
            assert address.startswith("/ops/jobs/"), address
        for address in re.findall(r'(?:href|src)="(/[^"]*static[^"]*)"', home.text):
            assert client.get(outside.removesuffix("/ops/jobs") + address).status_code == 200
        (cookie,) = client.cookies.jar
        assert cookie.path == "/ops/jobs"
        assert client.get(f"{outside}").status_code == 200


def test_nobody_is_believed_whom_he_speaks_for_unless_a_setting_says_so(
    tmp_path: Path, guarded: dict[str, str]
) -> None:
    guarded = guarded | {"FORWARDED_ALLOW_IPS": "*"}  # uvicorn's own
    with serving(tmp_path, settings=guarded) as served:
        text = base64.b64encode(b"vera:wrong password").decode()
        for number in range(12):
            headers = {"Authorization": f"Basic {text}", "X-Forwarded-For": f"192.0.2.{number}"}
            answer = get(served.url + "api/v1/stats", headers=headers)
            assert answer.status_code == (401 if number < 10 else 429)
        assert (
            "secure"
            not in get(served.url + "login", headers={"X-Forwarded-Proto": "https"})
            .headers["set-cookie"]
            .lower()
        )
        assert served.said.count("put its address into proxies") == 1


def test_a_proxy_is_believed_whom_it_speaks_for(tmp_path: Path, guarded: dict[str, str]) -> None:
    with serving(tmp_path, "--proxy", "127.0.0.1", settings=guarded) as served:
        text = base64.b64encode(b"vera:wrong password").decode()
        for number in range(11):
            headers = {"Authorization": f"Basic {text}", "X-Forwarded-For": f"192.0.2.{number}"}
            assert get(served.url + "api/v1/stats", headers=headers).status_code == 401
        assert "wrong password for vera from 192.0.2.10" in served.said
        login = get(served.url + "login", headers={"X-Forwarded-Proto": "https"})
        assert login.headers["set-cookie"].startswith("__Host-jobd_")
    with serving(tmp_path, "--proxy", "192.0.2.1", settings=guarded) as served:
        headers["X-Forwarded-For"] = "198.51.100.9"
        get(served.url + "api/v1/stats", headers=headers)
        assert "from 127.0.0.1" in served.said


def test_without_users_nobody_comes_through_a_proxy(tmp_path: Path, here: dict[str, str]) -> None:
    with serving(tmp_path, settings=here) as served, proxy(served.url, "", strips=False) as outside:
        answer = get(f"{outside}/api/v1/stats")
        assert answer.status_code == 403
        assert "answers to no proxy" in answer.json()["detail"]


# -- users ---------------------------------------------------------------------------------------


def test_a_line_that_lets_somebody_in(tmp_path: Path, here: dict[str, str]) -> None:
    code, said = run("web-password", "ada", "--role", "operator", given="correct horse\n")
    assert code == 0
    assert said.splitlines()[0] == "Add this to the list users in the section [web], in quotes:"
    line = said.splitlines()[1]
    user = Users([line]).with_password("ada", "correct horse")
    assert user is not None
    assert user.role is Role.OPERATOR
    config = tmp_path / "jobd.toml"
    config.write_text(f'[environments.production.web]\nusers = ["{line}"]\ntitle = "Shop"\n')
    with serving(tmp_path, "-C", str(config), "-e", "production", settings=here) as served:
        text = base64.b64encode(b"ada:correct horse").decode()
        page = get(served.url, headers={"Authorization": f"Basic {text}"})
        assert "ada · operator" in page.text
        assert "<title>Overview · Shop</title>" in page.text


def test_a_token_for_a_script(tmp_path: Path, here: dict[str, str]) -> None:
    code, said = run("web-password", "ci", "--role", "Viewer", "--token")
    assert code == 0
    token = said.splitlines()[0].rpartition(" ")[2]
    line = said.splitlines()[2]
    assert token not in line
    assert line.startswith("ci:viewer:")
    with serving(tmp_path, settings={**here, "JOBD_WEB_TOKENS": line}) as served:
        assert get(served.url + "metrics", headers=bearer(token)).status_code == 200
        assert get(served.url + "metrics", headers=bearer(TOKEN)).status_code == 401


def test_a_password_is_asked_for_twice_and_not_shown() -> None:
    master, slave = pty.openpty()
    asked = subprocess.Popen(
        [sys.executable, "-m", "jobd", "web-password", "ada"],
        stdin=slave,
        stdout=subprocess.PIPE,
        stderr=slave,
        start_new_session=True,
        preexec_fn=None,
        env=environment(),
    )
    os.close(slave)
    shown = b""
    for prompt in (b"Password: ", b"Repeat for confirmation: "):
        while not shown.endswith(prompt):
            shown += os.read(master, 1)
        os.write(master, b"correct horse\n")
    line, _ = asked.communicate(timeout=20)
    os.close(master)
    assert asked.returncode == 0
    assert line.startswith(b"ada:viewer:scrypt$")
    assert b"correct horse" not in shown


@pytest.mark.parametrize(
    ("arguments", "given", "code"),
    [
        (["ada"], "short\n", Exit.USAGE),
        (["ada"], "", Exit.USAGE),
        (["a:b"], "correct horse\n", Exit.USAGE),
        (["a b"], "correct horse\n", Exit.USAGE),
        ([""], "correct horse\n", Exit.USAGE),
        (["ada", "--role", "boss"], "correct horse\n", Exit.CONFIG),
    ],
)
def test_what_would_let_nobody_in_is_refused(arguments: list[str], given: str, code: int) -> None:
    found, said = run("web-password", *arguments, given=given)
    assert found == code
    assert "scrypt" not in said


def test_check_looks_at_the_dashboards_settings_too(tmp_path: Path, here: dict[str, str]) -> None:
    (tmp_path / "app.py").write_text("from jobd import job\n@job\ndef hello(): ...\n")
    config = tmp_path / "jobd.toml"
    base = f'require = ["{tmp_path}/app.py"]\npidfile = "{tmp_path}/a.pid"\n'
    config.write_text(base + f"[web]\nusers = {list(users())}\n")
    code, said = run("check", "-C", str(config), settings={**here, "JOBD_WEB_TITLE": "x"})
    assert (code, "warning" in said) == (0, False), said
    config.write_text(base + '[web]\nprot = 1\nusers = ["alice:admin:hunter2"]\n')
    code, said = run("check", "-C", str(config), settings=here)
    assert code == Exit.CONFIG
    assert "web.prot is not a setting; did you mean port?" in said
    assert "web: the password of user alice is not hashed" in said
    assert "hunter2" not in said
