"""Support for tests of jobd, and of applications that use it: an embedded server."""

from jobd.testing.server import EmbeddedServer

__all__ = ["EmbeddedServer"]
