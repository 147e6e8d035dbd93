"""``JobdTestMixin``: a mode of :mod:`jobd.testing` for every test of a unittest class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from jobd.testing.modes.kinds import ModeName, mode_called
from jobd.testing.modes.mode import open_modes

if TYPE_CHECKING:
    import unittest

    from jobd.testing.modes.jobs import Jobs

    _Base = unittest.TestCase
else:
    _Base = object


class JobdTestMixin(_Base):
    """Pushes of a test are collected in ``self.jobs``, or what ``jobd_mode`` says.

    Stands before ``TestCase`` (also Django's); a ``setUp`` of your own calls ``super().setUp()``
    first.

    Attributes:
        jobd_mode: the mode: ``"fake"``, ``"inline"``, ``"refuse"`` or ``"off"``.
        jobs: what was pushed, in the first two.

    Example:
        >>> class SignUp(JobdTestMixin, unittest.TestCase):
        ...     def test_a_mail_is_sent(self) -> None:
        ...         sign_up(7)
        ...         self.jobs.assert_pushed(welcome, 7)
    """

    jobd_mode: ClassVar[ModeName] = "fake"
    jobs: Jobs

    def setUp(self) -> None:
        super().setUp()
        before = open_modes()
        self.addCleanup(self._refuse_left_open, before)
        self.jobs = self.enterContext(mode_called(self.jobd_mode))

    def _refuse_left_open(self, before: Sequence[object]) -> None:
        left = [opened for opened in open_modes() if opened not in before]
        for opened in reversed(left):
            opened.close()
        if left:
            self.fail(f"{self.id()} has left open: {'; '.join(map(str, left))}. It is closed now")
