"""A small application that has work to be done: it pushes the jobs of ``jobs.py``.

Usage: ``python app.py DIRECTORY SECONDS``. Redis is named by ``JOBD_REDIS``. It puts files into
DIRECTORY, runs a web service that fails every now and then, and pushes jobs about both for that
long. Retries still need the service, so it goes on serving until it is told to end. On standard
output it says how many jobs it has pushed, a number a line, and at last "done".
"""

from __future__ import annotations

import itertools
import random
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from jobs import Report, checksum, compare_prices, notify_warehouse, thumbnail

TURN = 0.25  # s
SCARCE = 7


class Unreliable(BaseHTTPRequestHandler):
    """Answers most requests; is busy for some; has never heard of every fiftieth order."""

    def do_GET(self) -> None:
        time.sleep(0.05)
        self._answer(503 if random.random() < 0.02 else 200, b"%.2f" % random.uniform(5, 50))

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        order = int(self.path.rpartition("/")[2])
        time.sleep(random.uniform(0.02, 0.2))
        if order % 50 == 0:
            self._answer(404, b"no such order")
        else:
            self._answer(503 if random.random() < 0.15 else 200, b"ok")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the jobs tell what failed."""


def make_files(directory: Path) -> tuple[list[Path], list[Path]]:
    """Some documents, and some pictures in PPM."""
    documents, pictures = [], []
    for number in range(20):
        document = directory / f"document{number}.bin"
        document.write_bytes(random.randbytes(200_000))
        documents.append(document)
    for number in range(4):
        picture = directory / f"picture{number}.ppm"
        row = b"".join(bytes((x * 255 // 640, number * 60, 128)) for x in range(640))
        picture.write_bytes(b"P6 640 400 255\n" + row * 400)
        pictures.append(picture)
    return documents, pictures


def main() -> None:
    directory, seconds = Path(sys.argv[1]), float(sys.argv[2])
    documents, pictures = make_files(directory)
    results = directory / "results"
    results.mkdir(exist_ok=True)
    service = ThreadingHTTPServer(("127.0.0.1", 0), Unreliable)
    host, port = "127.0.0.1", service.server_address[1]
    threading.Thread(target=service.serve_forever, daemon=True).start()

    pushed = 0
    end = time.monotonic() + seconds
    for turn in itertools.count(1):
        if time.monotonic() > end:
            break
        calls = [
            (str(document), str(results / f"{document.stem}.{turn % SCARCE}.sha256"))
            for document in documents
        ]
        pushed += len(checksum.perform_bulk(calls))
        for picture in pictures[turn % 2 :: 2]:
            thumbnail.perform_async(str(picture), str(results / f"{picture.stem}.png"), width=80)
            pushed += 1
        for number in range(3):
            notify_warehouse.perform_async(f"http://{host}:{port}", turn * 3 + number)
            pushed += 1
        compare_prices.perform_async(host, port, f"product{turn}")
        pushed += 1
        if turn % 20 == 1:
            Report.perform_in(4, str(results))
            pushed += 1
        print(pushed, flush=True)
        time.sleep(TURN)
    print("done", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
