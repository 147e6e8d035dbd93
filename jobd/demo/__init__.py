"""``jobd demo``: runs a server, a daemon with its dashboard, and an application to experiment with.

Everything that it starts lives in temporary directories and ends with it: on Ctrl-C, a signal, a
hang-up of the terminal, or even SIGKILL (then only files remain).
"""

from __future__ import annotations

import signal
import sys
import time

from jobd.demo.stage import Ending, Stage
from jobd.errors import Exit, JobdError, UnavailableError
from jobd.settings.redis_url import redact
from jobd.text.printable import paragraph

ENDINGS: frozenset[Ending] = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
SECONDS = 25.0
STAY = 60.0
_LIVE_PAUSE = 0.25
_PLAIN_PAUSE = 2.0


class _Told(Exception):
    """A signal has requested the end of the demo."""


def _pause(seconds: float) -> None:
    # The signals are blocked and only received here, so that they interrupt nothing.
    if signal.sigtimedwait(ENDINGS, seconds):
        raise _Told


def main(redis: str | None, seconds: float = SECONDS, stay: float = STAY) -> int:
    """Run the demo until a signal ends it; without a terminal, until all jobs are done and *stay*
    seconds have passed.

    Args:
        redis: URL of a server to use instead of an embedded one.
        seconds: how long new jobs are pushed.
        stay: how long the dashboard keeps running after that, without a terminal.

    Returns:
        The exit code.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS)
    try:
        with Stage(redis) as stage:
            print("starting a server, the daemon and its dashboard ...", flush=True)
            stage.start(seconds, _pause)
            if sys.stdout.isatty():
                _live(stage)
            else:
                _plain(stage, stay)
    except _Told:
        print("\nstopped everything that the demo started; nothing is left behind")
    except JobdError as error:
        print(f"jobd demo: {paragraph(str(error))}", file=sys.stderr)
        return error.exit_code
    finally:
        # Discard signals that arrived meanwhile.
        while signal.sigtimedwait(ENDINGS, 0):
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return Exit.OK


def _live(stage: Stage) -> None:
    try:
        from jobd.demo.view import View
    except ModuleNotFoundError as error:
        raise UnavailableError(f"{error}; the demo needs: pip install 'pyjobd[dev]'") from error
    with View(stage) as view:
        while True:
            view.show(stage.look())
            _pause(_LIVE_PAUSE)


def _plain(stage: Stage, stay: float) -> None:
    began = time.monotonic()
    print(
        f"redis {redact(stage.url)}, pidfile {stage.pidfile}, dashboard {stage.dashboard}",
        flush=True,
    )
    before = None
    while True:
        scene = stage.look()
        print(f"{time.monotonic() - began:5.1f} s  {scene.summary()}", flush=True)
        if scene.daemon_ended:
            raise UnavailableError(f"the daemon has exited; its output:\n{stage.last_words()}")
        if scene.settled(before):
            if scene.lost > 0:
                raise JobdError(f"{scene.lost} of {scene.pushed} jobs are lost: this is a bug")
            print(
                "all jobs are done; none were lost\n"
                f"dashboard, for {stay:.0f} seconds or until Ctrl-C: {stage.dashboard}",
                flush=True,
            )
            _pause(stay)
            return
        before = scene
        _pause(_PLAIN_PAUSE)
