"""Paths of the files that a master creates, all beside its pidfile and named after it."""

from __future__ import annotations

from pathlib import Path


def state_path(path: Path) -> Path:
    """The state file that belongs to the pidfile *path*."""
    return _beside(path, ".state")


def socket_path(path: Path) -> Path:
    """The control socket that belongs to the pidfile *path*."""
    return _beside(path, ".sock")


def dump_path(path: Path) -> Path:
    """The file for the master's raw stacks that belongs to the pidfile *path*."""
    return _beside(path, ".dump")


def lock_path(path: Path) -> Path:
    """The file that is locked for the pidfile *path*."""
    return _beside(path, ".lock")


def company(path: Path) -> frozenset[str]:
    """The names of all files that a master creates for the pidfile *path*, including itself."""
    files = [path, lock_path(path), state_path(path)]
    names = [*files, *map(scratch_path, files), socket_path(path), dump_path(path)]
    return frozenset(one.name for one in names)


def scratch_path(path: Path) -> Path:
    """The temporary file that is renamed to *path*."""
    return path.with_name(path.name + ".new")


def _beside(path: Path, suffix: str) -> Path:
    """
    >>> _beside(Path("/run/jobd.pid"), ".sock").name, _beside(Path("/run/jobd.2"), ".sock").name
    ('jobd.sock', 'jobd.2.sock')
    """
    return path.with_name(path.name.removesuffix(".pid") + suffix)
