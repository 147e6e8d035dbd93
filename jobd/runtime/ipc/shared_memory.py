"""What a child and the master share: the page on which it shows what it does, and the memory that
takes its stacks. Made before the fork, gone when the child has been reaped."""

from __future__ import annotations

import os

from jobd.runtime.ipc.scoreboard import Page
from jobd.runtime.process.dumps import StackDump


class Workplace:
    """The workplace of one child with so many job *threads*.

    Raises:
        OSError: there is no descriptor or no memory left.
    """

    def __init__(self, threads: int, nonce: str) -> None:
        self.page, self._page_fd = Page.make(threads)
        try:
            self.dump = StackDump(nonce)
        except OSError:
            self._close_page()
            raise

    @property
    def descriptors(self) -> tuple[int, int]:
        """Of the page and of the dump memory, for a process that is not forked from this one;
        until :meth:`taken`."""
        return self._page_fd, self.dump.fd

    def taken(self) -> None:
        """The child is there, so that nobody needs another descriptor of the page."""
        if self._page_fd >= 0:
            os.close(self._page_fd)
            self._page_fd = -1

    def close(self) -> None:
        """Let go of it; what the page showed last can still be read."""
        self._close_page()
        self.dump.close()

    def _close_page(self) -> None:
        self.taken()
        self.page.close()
