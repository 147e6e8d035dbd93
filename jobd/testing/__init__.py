"""What tests of jobd, and of applications that use it, need: a real server of their own."""

from jobd.testing.server import EmbeddedServer

__all__ = ["EmbeddedServer"]
