"""A signing key beside a database file, made once, whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from pathlib import Path

from .exceptions import AuthBackendError, ConfigError

__all__ = ["key_of"]

_BYTES = 32
_CHARACTERS = 43


def key_of(path: Path | None) -> str:
    """Return the key in *path*, making the file if it is not there; without a path, a new key.

    The file is written aside, synced and then linked into place: of processes that start together
    one makes it, and none sees a part of it.

    Raises:
        AuthBackendError: The file can be neither read nor made.
        ConfigError: The file holds no key.
    """
    if path is None:
        return secrets.token_urlsafe(_BYTES)
    try:
        if not path.exists():
            _make(path)
        key = path.read_text("ascii").strip()
    except UnicodeDecodeError:
        key = ""
    except OSError as error:
        raise AuthBackendError(
            f"The signing key {path.name} can be neither read nor made: {error.strerror}"
        ) from error
    if len(key) < _CHARACTERS:
        raise ConfigError(
            f"{path.name} holds no signing key: put it back from a backup, or remove it, which "
            "signs everybody out"
        )
    return key


def _make(path: Path) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            _put_in_place(name, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
    _sync_folder(path.parent)


def _put_in_place(name: str, path: Path) -> None:
    """Give the finished file its name, unless another process was first (FileExistsError)."""
    try:
        os.link(name, path)
    except FileExistsError:
        raise
    except OSError:
        # A file system without hard links; renaming could replace another process's key there,
        # so the name is claimed first.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        Path(name).replace(path)


def _sync_folder(folder: Path) -> None:
    # Windows cannot open a folder, and keeps its entries by itself.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
