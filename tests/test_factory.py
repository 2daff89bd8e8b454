"""open_auth: one line makes everything, once, whole, and for its owner alone."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import peewee
import pytest

from derp_auth_lite import NativeAuthClient, open_auth
from derp_auth_lite.config import (
    AuthConfig,
    Config,
    DatabaseConfig,
    EmailConfig,
    JWTConfig,
    KVConfig,
    NativeAuthConfig,
    PasswordConfig,
    ValkeyConfig,
)
from derp_auth_lite.email import EmailClient
from derp_auth_lite.exceptions import AuthBackendError, ConfigError, SignupDisabledError
from derp_auth_lite.kv.disk import DiskKV
from derp_auth_lite.kv.memory import MemoryKV

from .processes import EIGHT, together
from .support import PASSWORD, SECRET, Request

CHEAP = PasswordConfig(hash_profile="cheapest")
EMAIL = "ada@example.com"
MAIL = EmailConfig(
    site_name="Test",
    site_url="https://app.test",
    from_email="noreply@app.test",
    smtp_host="127.0.0.1",
    smtp_port=1,
    smtp_user="",
    smtp_password="",
    use_tls=False,
)


def test_one_line_gives_accounts_that_are_still_there_the_next_time(tmp_path):
    with open_auth(tmp_path / "app.db", password=CHEAP) as auth:
        assert isinstance(auth, NativeAuthClient)
        tokens = auth.sign_up(email=EMAIL, password=PASSWORD).tokens
    with open_auth(tmp_path / "app.db", password=CHEAP) as auth:
        assert auth.authenticate(Request(tokens.access_token)) is not None
        assert auth.sign_in_with_password(EMAIL, PASSWORD).user.email == EMAIL


def test_everything_lies_beside_the_database_and_is_its_owners_alone(tmp_path):
    with open_auth(str(tmp_path / "app.db"), password=CHEAP) as auth:
        auth.sign_up(email=EMAIL, password=PASSWORD)
        assert isinstance(auth._kv_client, DiskKV)
        auth._kv_client.set(b"k", b"v")
        auth._email_client.send_email(
            subject="Hello", to_email=EMAIL, template="password_changed.html"
        )
    assert {path.name.removesuffix("-wal").removesuffix("-shm") for path in tmp_path.iterdir()} == {
        "app.db",
        "app.db.key",
        "app.db.kv",
        "app.db.mail",
    }
    if os.name == "posix":
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        assert modes["app.db"] == modes["app.db.key"] == 0o600
        assert modes["app.db.kv"] == modes["app.db.mail"] == 0o700


def test_the_key_is_made_once_and_a_damaged_one_is_said_in_words(tmp_path):
    open_auth(tmp_path / "app.db").disconnect()
    key = tmp_path / "app.db.key"
    first = key.read_text()
    open_auth(tmp_path / "app.db").disconnect()
    assert key.read_text() == first
    assert len(first.strip()) == 43

    for content in (b"", b"short", "ключ".encode() * 20):
        key.write_bytes(content)
        with pytest.raises(ConfigError, match=r"app\.db\.key holds no signing key"):
            open_auth(tmp_path / "app.db")
        assert key.read_bytes() == content


def open_and_tell(folder, number):
    together()
    with open_auth(Path(folder) / "app.db", password=CHEAP) as auth:
        tokens = auth.sign_up(email=f"user{number}@example.com", password=PASSWORD).tokens
    return tokens.access_token


def test_eight_processes_that_start_together_share_one_key(tmp_path, crew):
    tokens = crew.run(open_and_tell, [(str(tmp_path), number) for number in range(EIGHT)])
    with open_auth(tmp_path / "app.db", password=CHEAP) as auth:
        assert all(auth.authenticate(Request(token)) is not None for token in tokens)
    assert [path.name for path in tmp_path.glob(".app.db.key*")] == []


def test_a_file_system_without_hard_links_gets_its_key_too(tmp_path, monkeypatch):
    def no_links(*arguments, **keywords):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", no_links)
    open_auth(tmp_path / "app.db").disconnect()
    assert len((tmp_path / "app.db.key").read_text().strip()) == 43
    assert [path.name for path in tmp_path.glob(".app.db.key*")] == []


def test_memory_leaves_no_file_behind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with open_auth(":memory:", password=CHEAP) as auth:
        auth.sign_up(email=EMAIL, password=PASSWORD)
        assert isinstance(auth._kv_client, MemoryKV)
        auth._email_client.send_email(
            subject="Hello", to_email=EMAIL, template="password_changed.html"
        )
        assert len(auth._email_client.sent) == 1
    assert list(tmp_path.iterdir()) == []


def test_confirmation_is_on_just_where_mail_can_be_sent():
    with open_auth(":memory:") as auth:
        assert auth._config.enable_confirmation is False
    with open_auth(":memory:", email=EmailClient.in_memory()) as auth:
        assert auth._config.enable_confirmation is True
    with open_auth(":memory:", email=MAIL) as auth:
        assert auth._config.enable_confirmation is True
    with open_auth(":memory:", email=MAIL, enable_confirmation=False) as auth:
        assert auth._config.enable_confirmation is False


def test_settings_are_given_as_keywords_or_as_a_configuration_but_not_both():
    with (
        open_auth(":memory:", enable_signup=False) as auth,
        pytest.raises(SignupDisabledError),
    ):
        auth.sign_up(email=EMAIL, password=PASSWORD)
    native = NativeAuthConfig(jwt=JWTConfig(secret=SECRET), enable_confirmation=False)
    with open_auth(":memory:", config=native) as auth:
        assert auth._config is native
    with pytest.raises(TypeError, match="not both"):
        open_auth(":memory:", config=native, enable_signup=False)
    with pytest.raises(ConfigError, match="not both"):
        open_auth(":memory:", config=native, secret=SECRET)
    with pytest.raises(TypeError, match="enable_singup"):
        open_auth(":memory:", enable_singup=False)


def test_a_whole_configuration_says_where_accounts_mail_and_kv_store_are(tmp_path):
    config = Config(
        auth=AuthConfig(native=NativeAuthConfig(jwt=JWTConfig(secret=SECRET), password=CHEAP)),
        database=DatabaseConfig(db_url=f"sqlite:///{tmp_path / 'there.db'}"),
        email=MAIL,
    )
    with open_auth(config=config) as auth:
        assert auth.count_users() == 0
    assert (tmp_path / "there.db").exists()
    assert not (tmp_path / "there.db.key").exists()


def test_a_kv_server_that_is_down_is_a_typed_error(tmp_path):
    config = Config(
        auth=AuthConfig(native=NativeAuthConfig(jwt=JWTConfig(secret=SECRET))),
        kv=KVConfig(valkey=ValkeyConfig(addresses=(("127.0.0.1", 1),))),
    )
    with pytest.raises(AuthBackendError):
        open_auth(tmp_path / "app.db", config=config)


def test_a_server_and_an_own_database_need_a_secret(tmp_path, postgres_url):
    own = peewee.SqliteDatabase(tmp_path / "own.db")
    for database in (postgres_url, own):
        with pytest.raises(ConfigError, match="secret= is needed"):
            open_auth(database)
    with open_auth(own, secret=SECRET, password=CHEAP) as auth:
        auth.sign_up(email=EMAIL, password=PASSWORD)
    assert (tmp_path / "own.db.kv").is_dir()
    assert not (tmp_path / "own.db.key").exists()
    own.close()


def test_a_server_without_a_kv_store_says_what_that_means(postgres_url, caplog):
    with open_auth(postgres_url, secret=SECRET, password=CHEAP) as auth:
        assert auth.sign_up(email=EMAIL, password=PASSWORD).tokens is not None
    assert "this process alone" in caplog.text


NO_RIGHTS = """
import os, sys
from derp_auth_lite import AuthError, open_auth
open_auth(sys.argv[1] + "/loaded.db").disconnect()  # loads what it needs while it may
os.chmod(sys.argv[1], 0o555)
if os.geteuid() == 0:
    os.seteuid(65534)  # rights bind everybody but root
for database in ("new.db", "loaded.db"):
    try:
        open_auth(os.path.join(sys.argv[1], database))
    except AuthError as error:
        print(type(error).__name__, error)
"""


@pytest.mark.skipif(os.name != "posix", reason="Windows knows no modes")
def test_a_folder_or_a_file_without_rights_is_a_message_to_act_on(tmp_path):
    tmp_path.parent.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", NO_RIGHTS, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    tmp_path.chmod(0o755)
    assert done.stdout.splitlines() == [
        f"AuthBackendError The signing key {name} can be neither read nor made: Permission denied"
        for name in ("new.db.key", "loaded.db.key")
    ], done.stderr


def test_a_folder_that_is_not_there_is_a_message_to_act_on_and_is_not_made(tmp_path):
    for settings in ({}, {"secret": SECRET}):
        with pytest.raises(AuthBackendError, match=r"There is no folder .*none for app\.db"):
            open_auth(tmp_path / "none" / "app.db", **settings)
    assert not (tmp_path / "none").exists()


def test_a_folder_in_place_of_the_file_is_a_message_to_act_on(tmp_path):
    with pytest.raises(AuthBackendError, match="is a folder: name a file"):
        open_auth(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_kv_folder_full_of_rubbish_is_set_aside_and_accounts_go_on(tmp_path, caplog):
    kv = tmp_path / "app.db.kv"
    kv.mkdir()
    (kv / "cache.db").write_bytes(b"rubbish" * 1000)
    with open_auth(tmp_path / "app.db", password=CHEAP) as auth:
        assert auth.sign_up(email=EMAIL, password=PASSWORD).tokens is not None
        auth._kv_client.set(b"k", b"v")
        assert auth._kv_client.get(b"k") == b"v"
    assert "damaged" in caplog.text
    assert [path for path in kv.iterdir() if "damaged" in path.name]


def test_a_failed_opening_leaves_nothing_open(tmp_path):
    """Under -W error an unclosed connection would end this process with a warning."""
    code = (
        "import gc, sys\n"
        "from derp_auth_lite import open_auth, AuthError\n"
        "try:\n"
        "    open_auth(sys.argv[1], kv='redis://127.0.0.1:1', secret='x' * 40)\n"
        "except AuthError as error:\n"
        "    print(type(error).__name__)\n"
        "gc.collect()\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(tmp_path / "app.db")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("AuthBackendError\n", "")
