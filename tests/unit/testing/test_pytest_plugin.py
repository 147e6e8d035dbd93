"""The pytest plugin: its fixture, marker and setting, and what it says to a mode left open."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from jobd.testing.modes.mode import open_modes
from tests.support.daemon import environment

pytest_plugins = ["pytester"]

SHOP = """
    import pytest
    import jobd
    from jobd import App
    from jobd.testing import UnexpectedPushError, fake, inline
    from jobd.testing.modes.mode import open_modes

    app = App()
    app.configure("redis://127.0.0.1:1/0")  # nothing listens there
    done = []

    @app.job(name="shop.welcome")
    def welcome(user_id: int) -> None:
        done.append(user_id)
"""


@pytest.fixture
def pytester(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    # As the entry point does, which an older installation may not have.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p jobd_pytest -p no:cacheprovider --strict-markers")
    return pytester


def run(pytester: pytest.Pytester, tests: str, *flags: str, **outcomes: int) -> pytest.RunResult:
    pytester.makepyfile(test_shop=SHOP + tests)
    result = pytester.runpytest(*flags)
    result.assert_outcomes(**outcomes)
    assert not open_modes()
    return result


def test_the_world_as_a_fixture(pytester: pytest.Pytester) -> None:
    tests = """
    def test_a(jobd_world):
        @jobd.job(name="shop.later")
        def later(number):
            done.append(number)

        later.perform_in(3600, 7)
        assert jobd_world.advance(minutes=59) == 0
        assert jobd_world.advance(minutes=1) == 1
        assert done == [7]

    def test_each_test_has_its_own(jobd_world):
        assert jobd_world.drain() == 0
    """
    # A program of its own: other tests of this one leave periodic jobs in the default application.
    pytester.makepyfile(test_shop=SHOP + tests)
    pytester.runpytest_subprocess().assert_outcomes(passed=2)


def test_the_fixture_collects(pytester: pytest.Pytester) -> None:
    tests = """
    def test_a(jobs):
        welcome.perform_async(7)
        jobs.assert_pushed(welcome, 7, times=1)
        jobs.drain()
        assert done == [7]

    def test_b(jobs):
        assert not jobs.pushed()

    def test_without():
        assert not open_modes()
        with pytest.raises(jobd.UnavailableError):
            welcome.perform_async(1)
    """
    run(pytester, tests, passed=3)


def test_markers_choose_a_mode(pytester: pytest.Pytester) -> None:
    tests = """
    @pytest.fixture
    def signed_up():
        welcome.perform_async(1)

    @pytest.mark.jobd("fake")
    def test_fake(signed_up, jobs):  # also what other fixtures have pushed
        welcome.perform_async(2)
        assert [job.args for job in jobs] == [[1], [2]]
        assert not done

    @pytest.mark.jobd("inline")
    class TestInline:
        def test_inline(self, jobs):
            welcome.perform_async(3)
            assert done == [3]
            jobs.assert_pushed(welcome, 3)

        @pytest.mark.jobd("refuse")  # the nearest counts
        def test_refuse(self):
            with pytest.raises(UnexpectedPushError, match="entered at the marker for test_"):
                welcome.perform_async(4)

    @pytest.mark.jobd("off")
    def test_off():
        with pytest.raises(jobd.UnavailableError):
            welcome.perform_async(1)

    @pytest.mark.jobd("inline", server_middleware=False)
    def test_options():
        app.server_middleware.add(lambda job, payload, queue, call: None)
        welcome.perform_async(5)
        assert done[-1] == 5
    """
    run(pytester, tests, passed=5)


@pytest.mark.parametrize(
    ("mode", "test"),
    [
        ("fake", "welcome.perform_async(1); assert not done"),
        ("inline", "welcome.perform_async(1); assert done == [1]"),
        ("refuse", "with pytest.raises(UnexpectedPushError): welcome.perform_async(1)"),
        ("off", "with pytest.raises(jobd.UnavailableError): welcome.perform_async(1)"),
    ],
)
def test_a_setting_chooses_a_mode_for_all(pytester: pytest.Pytester, mode: str, test: str) -> None:
    pytester.makeini(f"[pytest]\njobd_mode = {mode}\n")
    tests = f"""
    def test_it():
        {test}

    @pytest.mark.jobd("refuse")
    def test_with_a_mode_of_its_own():
        with pytest.raises(UnexpectedPushError):
            welcome.perform_async(1)

    @pytest.mark.parametrize("n", [1, 2])
    def test_with_the_fixture(jobs, n):
        welcome.perform_async(n)
        jobs.assert_pushed(welcome, n, times=1)
    """
    run(pytester, tests, passed=4)


def test_an_unplanned_push_fails_its_test(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\njobd_mode = refuse\n")
    tests = """
    def test_it():
        welcome.perform_async(7)
    """
    result = run(pytester, tests, failed=1)
    result.stdout.fnmatch_lines(
        ["E*UnexpectedPushError: shop.welcome(7) was pushed to queue 'default' at *test_shop.py:*"]
    )


def test_unittest_classes_have_it_too(pytester: pytest.Pytester) -> None:
    tests = """
    import unittest

    @pytest.mark.jobd("inline")
    class Tests(unittest.TestCase):
        def setUp(self):
            welcome.perform_async(1)
        def test_it(self):
            assert done == [1]

    @pytest.mark.usefixtures("jobs")
    class Others(unittest.TestCase):
        def test_it(self):
            welcome.perform_async(2)
            assert done == [1]
    """
    run(pytester, tests, passed=2)


def test_a_failed_assertion_is_short(pytester: pytest.Pytester) -> None:
    tests = """
    def test_it(jobs):
        welcome.perform_async(8)
        jobs.assert_pushed(welcome, 7)
    """
    result = run(pytester, tests, failed=1)
    result.stdout.fnmatch_lines(
        [
            ">*jobs.assert_pushed(welcome, 7)",
            "E*AssertionError: no push was like shop.welcome(7)",
            "E*nearest: shop.welcome(8) to queue 'default'",
            "E*user_id: expected 7, got 8",
        ]
    )
    assert "jobd/testing" not in result.stdout.str()


# --- mistakes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("forget", "place"),
    [
        ("def test_it():\n        fake().__enter__()", "in test_it"),
        (
            "@pytest.fixture\n    def pushes():\n        return fake().__enter__()\n"
            "    def test_it(pushes): pass",
            "in pushes",
        ),
        (
            "class TestIt:\n        def setup_method(self): fake().__enter__()\n"
            "        def test_it(self): pass",
            "in TestIt.setup_method",
        ),
    ],
)
def test_a_mode_that_is_left_open_is_an_error_of_its_test(
    pytester: pytest.Pytester, forget: str, place: str
) -> None:
    tests = f"""
    {forget}

    def test_after_it():
        assert not open_modes()
    """
    result = run(pytester, tests, passed=2, errors=1)
    result.stdout.fnmatch_lines(
        [
            "test_shop.py::*test_it has left a mode of jobd open; it is closed now:",
            f"*jobd.testing.fake(), entered at *test_shop.py:* {place}",
        ]
    )


def test_a_test_that_fails_and_leaves_a_mode_open_is_both(pytester: pytest.Pytester) -> None:
    tests = """
    def test_it():
        fake().__enter__()
        raise LookupError

    def test_after_it():
        assert not open_modes()
    """
    run(pytester, tests, passed=1, failed=1, errors=1)


def test_a_teardown_that_fails_leaves_no_mode(pytester: pytest.Pytester) -> None:
    tests = """
    @pytest.fixture
    def broken():
        yield
        raise LookupError

    @pytest.mark.jobd("fake")
    def test_it(broken):
        fake().__enter__()

    def test_after_it():
        assert not open_modes()
    """
    run(pytester, tests, passed=2, errors=1)


def test_fixtures_for_many_tests_may_hold_a_mode(pytester: pytest.Pytester) -> None:
    tests = """
    @pytest.fixture(scope="session")
    def all_of_them():
        with inline():
            yield

    @pytest.fixture(scope="module")
    def some():
        with fake() as collected:
            yield collected

    @pytest.fixture(scope="module")
    def forgets():
        return fake().__enter__()

    def test_a(all_of_them):
        welcome.perform_async(1)
        assert done == [1]

    def test_b(some):
        welcome.perform_async(2)

    def test_c(some):
        assert len(some) == 1

    def test_d(forgets):
        pass

    def test_e(all_of_them):
        pass
    """
    result = run(pytester, tests, passed=5, errors=1)
    result.stdout.fnmatch_lines(
        ["test_shop.py::test_e has left a mode of jobd open*", "*entered at *in forgets"]
    )


@pytest.mark.parametrize(
    ("marker", "text"),
    [
        ('"fakes"', "@pytest.mark.jobd('fakes'): unknown mode 'fakes': use fake, inline, refuse*"),
        ("", "@pytest.mark.jobd(): give it one mode, of *'fake', 'inline', 'refuse', 'off'*"),
        ('"fake", speed=1', "@pytest.mark.jobd('fake', speed=1): *unexpected keyword*'speed'"),
    ],
)
def test_markers_that_say_nothing(pytester: pytest.Pytester, marker: str, text: str) -> None:
    tests = f"""
    @pytest.mark.jobd({marker})
    def test_it(): pass
    """
    run(pytester, tests, errors=1).stdout.fnmatch_lines([text])


def test_the_fixture_beside_a_mode_that_collects_nothing(pytester: pytest.Pytester) -> None:
    tests = """
    @pytest.mark.jobd("refuse")
    def test_it(jobs): pass
    """
    result = run(pytester, tests, errors=1)
    result.stdout.fnmatch_lines(
        ["the fixture jobs has nothing to show: @pytest.mark.jobd('refuse')"]
    )


def test_a_setting_that_does_not_exist(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\njobd_mode = fakes\n")
    pytester.makepyfile("def test_it(): pass")
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: jobd_mode = fakes: use one of fake, inline, refuse, off"])


def test_skipped_tests_and_modes_of_hooks(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("""
        import pytest
        from jobd.testing import fake

        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_protocol(item):
            with fake():
                return (yield)
    """)
    tests = """
    @pytest.mark.skip
    def test_a(): pass

    @pytest.mark.jobd("inline")
    @pytest.mark.skipif(True, reason="")
    def test_b(): pass

    @pytest.mark.jobd("inline")
    @pytest.mark.xfail
    def test_c(): raise LookupError

    def test_d():
        welcome.perform_async(1)
        assert len(open_modes()) == 1
    """
    run(pytester, tests, passed=1, skipped=2, xfailed=1)


# --- beside others ---------------------------------------------------------------------------


def test_processes_of_xdist_have_jobs_of_their_own(pytester: pytest.Pytester) -> None:
    tests = """
    @pytest.mark.parametrize("n", range(8))
    def test_it(jobs, n):
        welcome.perform_async(n)
        assert [job.args for job in jobs] == [[n]]

    @pytest.mark.jobd("inline")
    def test_marker():
        welcome.perform_async(9)
        assert 9 in done
    """
    run(pytester, tests, "-p", "xdist", "-n", "2", passed=9)


def test_it_is_documented_by_pytest(pytester: pytest.Pytester) -> None:
    assert "@pytest.mark.jobd(mode, *, server_middleware=True)" in (
        pytester.runpytest("--markers").stdout.str()
    )
    assert "jobs -- " in pytester.runpytest("--fixtures").stdout.str().replace("...", "--")


def test_a_run_that_does_not_use_it_does_not_import_jobd(tmp_path: Path) -> None:
    (tmp_path / "test_other.py").write_text(
        "import sys\n"
        "def test_it(): assert not [name for name in sys.modules if name.startswith('jobd.')]\n"
        "def test_plugin(): assert 'jobd_pytest' in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "jobd_pytest"],
        cwd=tmp_path,
        env=environment({"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "2 passed" in done.stdout, done.stdout + done.stderr
