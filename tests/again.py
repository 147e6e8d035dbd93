"""A plugin of pytest: what runs after all other tests, one by one in the main process.

With ``pytest -n``, those marked *alone*: they measure, and nothing else may be at work then. With
``--again``, those that failed: a test that fails among others and passes alone is *unsteady*. It
stops no one, but it is named last in the output and in the cache of pytest, to be fixed. A test
that fails again, or is skipped, has failed; so has everything where a second look says little:
more than ``MOST`` failures, errors while collecting, a run that lost tests or was interrupted.

Until a second attempt has passed, the first one counts as the failure that it is: whatever goes
wrong on the way leaves a run that has failed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator
from copy import copy

import pytest
from _pytest.runner import runtestprotocol

from tests.support import processes

MOST = 20

UNSTEADY = "jobd/unsteady"
"""In the cache of pytest: the failures of unsteady tests, by name; of the last run."""


def configure(config: pytest.Config) -> None:
    """Register the plugin; call it from ``pytest_configure``."""
    config.addinivalue_line("markers", "alone: under `pytest -n`, runs alone after all others")
    config.pluginmanager.register(Worker() if hasattr(config, "workerinput") else Main(config))


class Worker:
    """In a process of xdist: leaves out what the main process is going to run."""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        alone = [item for item in items if item.get_closest_marker("alone")]
        config.workeroutput["alone"] = [item.nodeid for item in alone]  # type: ignore[attr-defined]
        items[:] = [item for item in items if item not in alone]


class Main:
    """In the process that reports."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._alone: list[str] = []
        self._seen: set[str] = set()
        self._failures: dict[str, list[pytest.TestReport]] = defaultdict(list)
        self._unsteady: dict[str, str] = {}
        self._second = False
        self._remark = ""

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: object) -> None:
        """A process of xdist has ended, maybe because it crashed."""
        self._alone = getattr(node, "workeroutput", {}).get("alone", self._alone)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seen.add(report.nodeid)
        if report.failed:
            self._failures[report.nodeid].append(report)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, bool, bool]:
        result = yield
        again = self._failures if session.config.option.again else {}
        if (self._alone or again) and not session.items:
            self._take_over(session, [*self._alone, *again])
        self._run(session, self._alone)
        if self._failures and session.config.option.again:
            self._remark = self._objection(session)
            if not self._remark:
                self._second = True
                self._run(session, list(self._failures))
        return result

    def _take_over(self, session: pytest.Session, names: list[str]) -> None:
        """Find *names* in this process, which is the only one from now on."""
        session.config.pluginmanager.getplugin("dsession").nodemanager.teardown_nodes()
        processes.end_all()  # what a crashed one left behind
        others = session.testscollected
        # Once only: a second time, pytest would not find the fixtures.
        session.perform_collect(names)
        session.testscollected = others + len(self._alone)

    def _objection(self, session: pytest.Session) -> str:
        if len(self._failures) > MOST:
            return f"{len(self._failures)} tests failed, more than {MOST}: none was run again"
        if session.testsfailed != sum(map(len, self._failures.values())):
            return "errors outside of the tests: none was run again"
        if lost := session.testscollected - len(self._seen):
            return f"{lost} tests did not run: none was run again"
        return ""

    def _run(self, session: pytest.Session, names: list[str]) -> None:
        items = [item for item in session.items if item.nodeid in names]
        for item, following in zip(items, [*items[1:], None], strict=False):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> bool | None:
        """The second attempt; only one that passed is reported, in the place of the first."""
        if not self._second:
            return None  # as usual
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        if all(report.passed for report in reports):
            self._forgive(item)
            for report in reports:
                item.ihook.pytest_runtest_logreport(report=report)
        else:
            first = self._failures[item.nodeid][0]
            first.sections += [
                ("Again, alone", each.longreprtext) for each in reports if not each.passed
            ]
        return True

    def _forgive(self, item: pytest.Item) -> None:
        failures = self._failures.pop(item.nodeid)
        item.session.testsfailed -= len(failures)
        if terminal := self._config.pluginmanager.getplugin("terminalreporter"):
            for category in ("failed", "error", "passed"):
                reports = terminal.stats.pop(category, ())
                if kept := [report for report in reports if report.nodeid != item.nodeid]:
                    terminal.stats[category] = kept
        self._unsteady[item.nodeid] = "\n".join(failure.longreprtext for failure in failures)
        unsteady = copy(failures[0])
        unsteady.outcome = "unsteady"  # type: ignore[assignment]
        item.ihook.pytest_runtest_logreport(report=unsteady)

    def pytest_report_teststatus(
        self, report: pytest.TestReport
    ) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
        outcome: str = report.outcome
        return ("unsteady", "U", ("UNSTEADY", {"yellow": True})) if outcome == "unsteady" else None

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for name, failure in self._unsteady.items():
            terminalreporter.write_sep("=", f"UNSTEADY {name}", yellow=True)
            terminalreporter.write_line(failure)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None]:
        """Below the closing line, for that is where people look."""
        yield
        terminal = session.config.pluginmanager.getplugin("terminalreporter")
        if not session.config.option.again or terminal is None:
            return
        assert session.config.cache is not None
        session.config.cache.set(UNSTEADY, self._unsteady)
        if self._remark:
            terminal.write_line(self._remark, red=True)
        for name in self._unsteady:
            terminal.write_line(f"unsteady, failed among others and passed alone: {name}")
        if self._unsteady:
            terminal.write_line(
                f"their failures are in {session.config.getini('cache_dir')}/v/{UNSTEADY}"
            )
