"""Numbers and times as people read them."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable

from markupsafe import Markup, escape

from jobd.text.printable import shortened
from jobd.text.translatable import Text
from jobd.web.language import gettext
from jobd.web.views.visible import visible
from jobd.wire.histogram import BOUNDS

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"))


def number(value: float) -> str:
    """
    >>> number(1234567), number(2.5)
    ('1,234,567', '2.5')
    """
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def jobs(count: int) -> Text:
    """
    >>> jobs(1), jobs(2000)
    ('1 job', '2,000 jobs')
    """
    return Text.counted("%(count)s job", "%(count)s jobs", count)


def rate(per_second: float | None) -> str:
    """
    >>> rate(None), rate(0.04), rate(12.34), rate(1234.5)
    ('–', '0.04/s', '12.3/s', '1,234/s')
    """
    if per_second is None:
        return "–"
    if 0 < per_second < 1:
        return f"{per_second:.2f}/s"
    return f"{number(round(per_second, 1) if per_second < 100 else int(per_second))}/s"


def short(value: float) -> str:
    """A number that fits anywhere.

    >>> short(999), short(12_345), short(1_234_567), short(-3_000_000_000)
    ('999', '12.3K', '1.2M', '-3B')
    """
    for limit, unit in ((1e9, "B"), (1e6, "M"), (1e4, "K")):  # as scripts write it
        if abs(value) >= limit:
            rounded = round(value / (1e3 if unit == "K" else limit), 1)
            return f"{rounded:g}{unit}"
    return number(value)


def size(count: float) -> str:
    """Bytes.

    >>> size(512), size(2048), size(3 * 2**20)
    ('512 B', '2.0 KB', '3.0 MB')
    """
    for limit, unit in ((2**30, "GB"), (2**20, "MB"), (2**10, "KB")):
        if count >= limit:
            return f"{count / limit:.1f} {unit}"
    return f"{count:.0f} B"


def duration(seconds: float) -> str:
    """
    >>> duration(0.0042), duration(1.5), duration(75), duration(90000)
    ('4 ms', '1.5 s', '1 min 15 s', '1 d 1 h')
    """
    if seconds < 0:
        return f"-{duration(-seconds)}"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    rest = round(seconds)
    parts: list[tuple[int, str]] = []
    for length, unit in (*_UNITS, (1, "s")):
        count, rest = divmod(rest, length)
        if count or parts:
            parts.append((count, unit))
    return " ".join(f"{count} {unit}" for count, unit in parts[:2] if count)


def fine(seconds: float) -> str:
    """A very short time.

    >>> fine(0.00042), fine(0.0123)
    ('0.42 ms', '12 ms')
    """
    return f"{seconds * 1000:.2f} ms" if seconds < 0.01 else duration(seconds)


def percentile(seconds: float | None) -> str:
    """One of a histogram: the bound of its bucket, infinity for the last one, None of nothing.

    >>> percentile(0.02), percentile(float("inf")), percentile(None)
    ('≤ 20 ms', '> 5 min 35 s', '–')
    """
    if seconds is None:
        return "–"
    longest = BOUNDS[-1] / 1000
    return f"≤ {duration(seconds)}" if seconds <= longest else f"> {duration(longest)}"


def share(of: float | None) -> str:
    """A share of something, None of nothing.

    >>> share(0.0), share(0.00031), share(0.0244), share(0.4), share(None)
    ('0 %', '0.03 %', '2.4 %', '40 %', '–')
    """
    if of is None:
        return "–"
    percent = 100 * of
    digits = 0 if percent >= 10 or not percent else 1 if percent >= 1 else 2
    return f"{percent:.{digits}f} %"


def ago(at: float | None) -> str:
    """How long since, or until, Unix time *at*.

    >>> ago(None)
    '–'
    """
    if at is None:
        return "–"
    passed = time.time() - at
    if abs(passed) < 1:
        return gettext("now")
    if passed > 0:
        return gettext("%(time)s ago", time=duration(passed))
    return gettext("in %(time)s", time=duration(-passed))


def moment(at: float | None, relative: bool = True) -> Markup:
    """Unix time *at* as an element that the browser shows in the reader's time zone.

    >>> str(moment(0.0, relative=False))[-32:]
    '">1970-01-01 00:00:00 UTC</time>'
    """
    if at is None:
        return Markup("–")
    try:
        when = datetime.datetime.fromtimestamp(at, datetime.UTC)
    except (OverflowError, ValueError, OSError):
        return Markup("<span>{}</span>").format(f"{at:g}")
    full = when.strftime("%Y-%m-%d %H:%M:%S UTC")
    shown = ago(at) if relative else full
    kind = "relative" if relative else "full"
    return Markup('<time datetime="{}" data-{} title="{}">{}</time>').format(
        when.isoformat(timespec="seconds"), kind, full, shown
    )


def clock(at: float) -> str:
    """
    >>> clock(3723.5)
    '01:02:03 UTC'
    """
    return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%H:%M:%S UTC")


def elapsed(at: float | None) -> Markup:
    """How long something has gone on that began at Unix time *at*; the browser keeps counting.

    >>> str(elapsed(None))
    '–'
    """
    if at is None or not 0 < at <= time.time() + 86400:
        return Markup("–")
    when = datetime.datetime.fromtimestamp(at, datetime.UTC)
    shown = duration(max(0, round(time.time() - at))) or "0 s"
    return Markup('<time datetime="{}" data-elapsed title="{}">{}</time>').format(
        when.isoformat(timespec="seconds"), when.strftime("%Y-%m-%d %H:%M:%S UTC"), shown
    )


def clip(text: str, most: int = 200) -> str:
    """A text that may be of any length and hold anything, for a place on a page.

    >>> clip("abcdef", 4), clip("\\x00")
    ('abc…', '␀')
    """
    return visible(shortened(text, most))


def first_line(text: str) -> str:
    """The first line of a message that has something in it; a mark says that there are more.

    >>> first_line("undefined method\\n    1: <p>\\n"), first_line("\\n one "), first_line("")
    ('undefined method …', 'one', '')
    """
    first, _, rest = text.strip().partition("\n")
    return first.rstrip() + (" …" if rest else "")


def dotted(name: str) -> Markup:
    """A name that may go on in another line after a dot or two colons, rather than anywhere.

    >>> dotted("smtplib.SMTP<"), dotted("Net::ReadTimeout")
    (Markup('smtplib.<wbr>SMTP&lt;'), Markup('Net::<wbr>ReadTimeout'))
    """
    shown = escape(name)
    for mark in (".", "::"):
        shown = shown.replace(mark, Markup(mark + "<wbr>"))
    return shown


_SETS = {
    "retry": Text("retries"),
    "schedule": Text("scheduled jobs"),
    "dead": Text("dead jobs"),
}


def target(name: str) -> Text:
    """What somebody has acted on, as people call it: a name of at most 120 characters.

    >>> target("schedule"), target("queue:low"), target("host:1:ab")
    ('scheduled jobs', 'queue low', 'host:1:ab')
    """
    kind, _, queue = name.partition(":")
    if kind == "queue":
        return Text("queue %(name)s", name=clip(queue, 120))
    return _SETS.get(name) or Text(clip(name, 120))


FILTERS: dict[str, Callable[..., object]] = {
    "ago": ago,
    "clip": clip,
    "clock": clock,
    "dotted": dotted,
    "duration": duration,
    "elapsed": elapsed,
    "fine": fine,
    "first_line": first_line,
    "moment": moment,
    "number": number,
    "percentile": percentile,
    "rate": rate,
    "share": share,
    "short": short,
    "size": size,
    "target": target,
}
