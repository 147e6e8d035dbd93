"""``JobdTestMixin``: a mode for every test of a unittest class."""

from __future__ import annotations

import textwrap
import unittest
from typing import Any

import pytest

from jobd import App
from jobd.testing import JobdTestMixin, UnexpectedPushError, fake
from jobd.testing.modes.mode import open_modes

app = App()
app.configure("redis://127.0.0.1:1/0")  # nothing listens there


@app.job(name="shop.welcome")
def welcome(user_id: int) -> None: ...


class _Collected(JobdTestMixin, unittest.TestCase):
    __test__ = False  # not one of pytest

    def test_a_mail_is_sent(self) -> None:
        welcome.perform_async(7)
        self.jobs.assert_pushed(welcome, 7)

    def test_each_has_its_own(self) -> None:
        assert not self.jobs.pushed()


class _Refused(JobdTestMixin, unittest.TestCase):
    __test__ = False  # not one of pytest

    jobd_mode = "refuse"

    def test_it_may_not_push(self) -> None:
        with pytest.raises(UnexpectedPushError):
            welcome.perform_async(7)


class _Async(JobdTestMixin, unittest.IsolatedAsyncioTestCase):
    __test__ = False  # not one of pytest

    async def test_a_mail_is_sent(self) -> None:
        await welcome.aperform_async(7)
        self.jobs.assert_pushed(welcome, 7)
        assert await self.jobs.adrain() == 1


class _Forgetful(JobdTestMixin, unittest.TestCase):
    __test__ = False  # not one of pytest

    def test_forgets(self) -> None:
        self.mode = fake()
        self.mode.__enter__()


def run(case: type[unittest.TestCase]) -> unittest.TestResult:
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
    assert not open_modes()
    return result


def texts(failures: list[tuple[Any, str]]) -> str:
    return "\n".join(text for _, text in failures)


def test_tests_pass_in_their_mode() -> None:
    for case in (_Collected, _Refused, _Async):
        result = run(case)
        assert result.testsRun
        assert result.wasSuccessful(), texts(result.failures + result.errors)


def test_a_mode_that_is_left_open_fails_its_test_and_is_closed() -> None:
    result = run(_Forgetful)
    text = texts(result.failures)
    assert "_Forgetful.test_forgets has left open: jobd.testing.fake(), entered at" in text
    assert textwrap.shorten(text, 4000).endswith("It is closed now")
