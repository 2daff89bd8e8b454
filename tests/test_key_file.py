"""The key beside a database: it can be changed without anybody being signed out."""

from __future__ import annotations

import os
import stat
import threading

import pytest

from derp_auth_lite import open_auth
from derp_auth_lite._key_file import keys_of, rotate
from derp_auth_lite.config import PasswordConfig
from derp_auth_lite.exceptions import AuthBackendError, ConfigError, InvalidTokenError

from .support import PASSWORD, Request

CHEAP = PasswordConfig(hash_profile="cheapest")
EMAIL = "ada@example.com"


@pytest.fixture
def key(tmp_path):
    """The path of a key file with one key."""
    path = tmp_path / "app.db.key"
    keys_of(path)
    return path


def test_a_new_key_comes_first_and_the_old_one_stays(key):
    (old,) = keys_of(key)
    assert rotate(key, keep=3) == 1
    new, retired = keys_of(key)
    assert retired == old
    assert new != old
    assert len(new) == 43


def test_the_newest_retired_keys_are_kept_and_the_rest_forgotten(key):
    made = [keys_of(key)[0]]
    for _ in range(4):
        rotate(key, keep=2)
        made.append(keys_of(key)[0])
    assert keys_of(key) == tuple(made[:-4:-1])
    assert rotate(key, keep=0) == 0
    assert len(keys_of(key)) == 1


def test_the_file_stays_its_owners_and_nothing_is_left_beside_it(key):
    rotate(key, keep=3)
    assert [path.name for path in key.parent.iterdir()] == ["app.db.key"]
    if os.name == "posix":
        assert stat.S_IMODE(key.stat().st_mode) == 0o600


@pytest.mark.skipif(os.name != "posix", reason="files have no owners and modes there")
def test_who_could_read_the_key_can_read_the_new_one(key):
    """Also where an administrator rotates: the application is another user then."""
    wanted = (1234, 1234) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    os.chown(key, *wanted)
    key.chmod(0o640)
    rotate(key, keep=3)
    found = key.stat()
    assert (found.st_uid, found.st_gid) == wanted
    assert stat.S_IMODE(found.st_mode) == 0o640


def test_a_rotation_that_fails_leaves_the_old_keys(key, monkeypatch):
    before = keys_of(key)

    def full(*arguments):
        raise OSError(28, "No space left on device")

    for broken in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, broken, full)
            with pytest.raises(AuthBackendError, match="No space left"):
                rotate(key, keep=3)
        assert keys_of(key) == before
        assert [path.name for path in key.parent.iterdir()] == ["app.db.key"]


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 43 + b"\nshort", b"\xff" * 50])
def test_a_damaged_file_is_not_rotated(key, content):
    key.write_bytes(content)
    with pytest.raises(ConfigError, match="holds no signing key"):
        rotate(key, keep=3)
    assert key.read_bytes() == content


def test_sessions_survive_a_rotation_until_their_key_is_forgotten(tmp_path):
    database = tmp_path / "app.db"
    with open_auth(database, password=CHEAP) as auth:
        tokens = auth.sign_up(email=EMAIL, password=PASSWORD).tokens
        cookie = auth.issue_session_cookie(tokens)
    rotate(tmp_path / "app.db.key", keep=1)
    with open_auth(database, password=CHEAP) as auth:
        assert auth.authenticate(Request(tokens.access_token)) is not None
        assert auth.authenticate_cookie(cookie) is not None
        fresh = auth.refresh_token(tokens.refresh_token)
    rotate(tmp_path / "app.db.key", keep=1)
    with open_auth(database, password=CHEAP) as auth:
        assert auth.authenticate(Request(tokens.access_token)) is None
        assert auth.authenticate_cookie(cookie) is None
        with pytest.raises(InvalidTokenError):
            auth.refresh_token(tokens.refresh_token)
        assert auth.authenticate(Request(fresh.access_token)) is not None
        assert auth.refresh_token(fresh.refresh_token)


def test_a_name_that_another_process_has_just_taken_is_waited_for(tmp_path):
    path = tmp_path / "app.db.key"
    path.touch()
    writer = threading.Timer(0.1, path.write_text, ["k" * 43 + "\n"])
    writer.start()
    assert keys_of(path) == ("k" * 43,)
    writer.join()


def test_a_file_that_stays_empty_holds_no_key(tmp_path):
    path = tmp_path / "app.db.key"
    path.touch()
    with pytest.raises(ConfigError, match="holds no signing key"):
        keys_of(path)
