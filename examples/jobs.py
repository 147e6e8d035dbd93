"""Jobs that do something real, with the standard library only.

Try them against a Redis of your own::

    jobd run -r examples/jobs.py -q media -q default
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import struct
import time
import urllib.error
import urllib.request
import zlib
from pathlib import Path
from typing import Any

from jobd import KILL, Job, Verdict, job

TIMEOUT = 5.0


@job
def checksum(source: str, target: str) -> None:
    """Hash a file. Jobs may run twice, so the result is put in place in one step."""
    with Path(source).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    _write(Path(target), f"{digest}  {source}\n".encode())


@job(queue="media", tags=["images"])
def thumbnail(source: str, target: str, *, width: int = 96) -> None:
    """Make a small PNG of a PPM picture."""
    pixels, columns, rows = _read_ppm(Path(source))
    step = max(1, columns // width)
    lines = [
        b"\0" + b"".join(pixels[3 * (y * columns + x) :][:3] for x in range(0, columns, step))
        for y in range(0, rows, step)
    ]
    _write(Path(target), _png(lines, columns=len(lines[0]) // 3))


def _patience(count: int, error: Exception, _payload: dict[str, Any]) -> float | Verdict:
    """A service that is busy will recover soon; one that says 404 will say so for ever."""
    if isinstance(error, urllib.error.HTTPError) and error.code == 404:
        return KILL
    return 1.0 + count


@job(retry=8, retry_in=_patience, backtrace=5)
def notify_warehouse(url: str, order: int) -> None:
    """Tell another service about an order; it is not always there."""
    body = json.dumps({"order": order}).encode()
    request = urllib.request.Request(f"{url}/orders/{order}", data=body, method="POST")
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        answer.read()


@job(retry=5, retry_in=lambda count, _error, _payload: 1.0 + count)
async def compare_prices(host: str, port: int, product: str) -> None:
    """Ask four shops at the same time. Hundreds of such jobs share one thread."""
    async with asyncio.timeout(TIMEOUT):
        await asyncio.gather(*(_price(host, port, f"/{shop}/{product}") for shop in "abcd"))


async def _price(host: str, port: int, path: str) -> float:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        if b" 200 " not in head.partition(b"\r\n")[0]:
            raise ConnectionError(f"{path}: {head[:40]!r}")
        return float(body)
    finally:
        writer.close()
        await writer.wait_closed()


class Report(Job, tags=["report"]):
    """Count what the other jobs have made. A job may be a class, too."""

    def perform(self, directory: str) -> None:
        made = [path.stat() for path in Path(directory).iterdir() if path.is_file()]
        summary = {
            "at": time.time(),
            "files": len(made),
            "bytes": sum(entry.st_size for entry in made),
        }
        _write(Path(directory) / "report.json", json.dumps(summary).encode())


def _write(target: Path, content: bytes) -> None:
    scratch = target.with_suffix(f".{time.monotonic_ns()}")
    scratch.write_bytes(content)
    scratch.replace(target)


def _read_ppm(source: Path) -> tuple[bytes, int, int]:
    magic, columns, rows, _depth, pixels = source.read_bytes().split(maxsplit=4)
    if magic != b"P6":
        raise ValueError(f"{source} is not a binary PPM picture")
    return pixels, int(columns), int(rows)


def _png(lines: list[bytes], *, columns: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", columns, len(lines), 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"".join(lines)))
    return b"\x89PNG\r\n\x1a\n" + data + chunk(b"IEND", b"")
