"""The signing key beside a database file, made once, whole or not at all.

The file has the present key in its first line and retired ones, the newest first, in those below.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from .exceptions import AuthBackendError, ConfigError

__all__ = ["keys_of", "rotate"]

_BYTES = 32
_CHARACTERS = 43
_PATIENCE = 50


def keys_of(path: Path | None) -> tuple[str, ...]:
    """Return the keys in *path*, the present one first; without a path, a new one.

    A file that is not there is made: written aside, synced and then linked into place. Of processes
    that start together one makes it, and none sees a part of it.

    Raises:
        AuthBackendError: The file can be neither read nor made.
        ConfigError: The file holds no key.
    """
    if path is None:
        return (_new_key(),)
    with _as_backend_error(path):
        if not path.exists():
            _make(path)
    return _read(path)


def rotate(path: Path, *, keep: int) -> int:
    """Put a new key first and retire the present one; return how many retired ones there are.

    The file is replaced at once: whoever reads it meanwhile, or after a crash, has the old keys or
    the new ones. Two calls at the same time would lose a key: the caller keeps them apart.

    Args:
        keep: How many retired keys stay, the newest ones. What an older key signed is refused.

    Raises:
        AuthBackendError: The file can be neither read nor written.
        ConfigError: The file holds no key.
    """
    retired = _read(path)[:keep]
    with _as_backend_error(path):
        name = _write_aside(path, (_new_key(), *retired))
        try:
            _give_to_owner_of(path, name)
            Path(name).replace(path)
        except OSError:
            Path(name).unlink()
            raise
        _sync_folder(path.parent)
    return len(retired)


def _new_key() -> str:
    return secrets.token_urlsafe(_BYTES)


def _read(path: Path) -> tuple[str, ...]:
    with _as_backend_error(path):
        try:
            keys = tuple(_filled(path).split())
        except UnicodeDecodeError:
            keys = ()
    if not keys or any(len(key) < _CHARACTERS for key in keys):
        raise ConfigError(
            f"{path.name} holds no signing key: put it back from a backup, or remove it, which "
            "signs everybody out"
        )
    return keys


def _filled(path: Path) -> str:
    """Return the file's text; one that is empty may be about to be filled.

    Without hard links its name is taken a moment before its content is there.
    """
    for _ in range(_PATIENCE):
        text = path.read_text("ascii")
        if text:
            break
        time.sleep(0.01)
    return text


@contextlib.contextmanager
def _as_backend_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise AuthBackendError(
            f"The signing key {path.name} can be neither read nor made: {error.strerror}"
        ) from error


def _make(path: Path) -> None:
    name = _write_aside(path, (_new_key(),))
    try:
        with contextlib.suppress(FileExistsError):
            _put_in_place(name, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
    _sync_folder(path.parent)


def _write_aside(path: Path, keys: tuple[str, ...]) -> str:
    """Write the keys to a new file in the same folder, readable by its owner alone."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write("".join(f"{key}\n" for key in keys))
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        Path(name).unlink()
        raise
    return name


def _give_to_owner_of(path: Path, name: str) -> None:
    """Give a new file the owner, group and mode of *path*, whose readers must read it as well.

    Who rotates may be an administrator, and the application another user.
    """
    if not hasattr(os, "chown"):
        return
    found, made = path.stat(), Path(name).stat()
    if (found.st_uid, found.st_gid) != (made.st_uid, made.st_gid):
        os.chown(name, found.st_uid, found.st_gid)
    Path(name).chmod(stat.S_IMODE(found.st_mode))


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
