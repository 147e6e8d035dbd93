"""Memory shared by a child and the master: the scoreboard page and the memory for stack dumps.
Created before the fork, and released when the child has been reaped."""

from __future__ import annotations

import os

from jobd.runtime.ipc.scoreboard import Page
from jobd.runtime.process.dumps import StackDump


class Workplace:
    """The shared memory of a child that runs at most *places* jobs at a time.

    Raises:
        OSError: out of descriptors or memory.
    """

    def __init__(self, places: int, nonce: str) -> None:
        self.page, self._page_fd = Page.make(places)
        try:
            self.dump = StackDump(nonce)
        except OSError:
            self._close_page()
            raise

    @property
    def descriptors(self) -> tuple[int, int]:
        """Descriptors of the page and of the dump memory, for a process that is not forked from
        this one; valid until :meth:`taken`."""
        return self._page_fd, self.dump.fd

    def taken(self) -> None:
        """Close the page's descriptor; to be called when the child is running."""
        if self._page_fd >= 0:
            os.close(self._page_fd)
            self._page_fd = -1

    def close(self) -> None:
        """Release the memory; the page's last content can still be read."""
        self._close_page()
        self.dump.close()

    def _close_page(self) -> None:
        self.taken()
        self.page.close()
