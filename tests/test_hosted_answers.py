"""Answers of a hosted service that are not what they should be, field by field and byte by byte.

A good answer to each call is taken, one thing in it is changed, and the act that asked for it is
done again. It ends in a result or in an error of the library, and shows no secret.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import gzip
import itertools
import json
import os
import time

import pytest

from derp_auth_lite.exceptions import (
    AuthBackendError,
    AuthError,
    OrgMemberNotFoundError,
    RateLimitedError,
)
from derp_auth_lite.testing import FakeSupabase, FakeWorkOS
from derp_auth_lite.testing.service import Reply

from . import supabase_support, workos_support
from .support import PASSWORD, Request

FULL = os.environ.get("DERP_AUTH_LITE_TEST_FAULTS") == "full"
PAGE = "https://app.test/page"
MISSING = object()
VALUES = [
    MISSING,
    None,
    "",
    "x",
    7,
    -1,
    1e300,
    10**400,
    True,
    [],
    {},
    [None],
    {"id": 5},
    "x" * 100_000,
    "\x00\r\nSet-Cookie: a=b",
    "../../x",
    "a.e30.c",
    [[[[[{}]]]]],
]
BACKENDS = {
    "supabase": (FakeSupabase, supabase_support.connected),
    "workos": (FakeWorkOS, workos_support.connected),
}
_numbers = itertools.count()


class World:
    """A service, a client, and somebody new for each act."""

    def __init__(self, name, service, auth):
        self.name, self.service, self.auth = name, service, auth
        self.change = None
        self.replies = []
        self._real = service.handle
        service.handle = self._handle

    def _handle(self, call):
        reply = self._real(call)
        self.replies.append(reply)
        if self.change is None or len(self.replies) - 1 != self.change[0]:
            return reply
        return self.change[1](reply)

    def newcomer(self):
        self.email = f"user{next(_numbers)}@example.com"
        self.entered = self.auth.sign_up(email=self.email, password=PASSWORD)
        self.id = self.entered.user.id

    def founder(self):
        self.newcomer()
        self.slug = self.email.partition("@")[0]
        self.org = self.auth.create_org(name="Engines", slug=self.slug, creator_id=self.id)

    def mailed(self):
        self.newcomer()
        self.auth.request_password_recovery(email=self.email, recovery_url=PAGE)
        mail = self.service.last_mail()
        self.token = getattr(mail, "token", None) or mail.code

    def linked(self):
        self.newcomer()
        self.auth.sign_in_with_magic_link(email=self.email, magic_link_url=PAGE)
        mail = self.service.last_mail()
        if self.name == "supabase":
            self.token = mail.token
        else:
            self.token = self.auth.magic_link_token(email=self.email, code=mail.code)

    def nothing(self):
        self.email = f"user{next(_numbers)}@example.com"


ACTS = {
    "sign up": (World.nothing, lambda w: w.auth.sign_up(email=w.email, password=PASSWORD)),
    "sign in": (World.newcomer, lambda w: w.auth.sign_in_with_password(w.email, PASSWORD)),
    "refresh": (
        World.newcomer,
        lambda w: w.auth.refresh_token(w.entered.tokens.refresh_token),
    ),
    "authenticate": (
        World.newcomer,
        lambda w: w.auth.authenticate(Request(w.entered.tokens.access_token)),
    ),
    "magic link": (World.linked, lambda w: w.auth.verify_magic_link(w.token)),
    "reset": (World.mailed, lambda w: w.auth.reset_password(w.token, "another good password")),
    "look": (World.newcomer, lambda w: w.auth.get_user(w.id)),
    "list": (World.newcomer, lambda w: w.auth.list_users(limit=3)),
    "count": (World.newcomer, lambda w: w.auth.count_users()),
    "change": (
        World.newcomer,
        lambda w: w.auth.update_user(user_id=w.id, first_name="Ada", metadata={"a": 1}),
    ),
    "sign out": (
        World.newcomer,
        lambda w: w.auth.sign_out(w.entered.tokens.access_token),
    ),
    "sign out everywhere": (World.newcomer, lambda w: w.auth.sign_out_all(w.id)),
    "delete": (World.newcomer, lambda w: w.auth.delete_user(w.id)),
    "create org": (
        World.newcomer,
        lambda w: w.auth.create_org(name="E", slug=w.email.partition("@")[0], creator_id=w.id),
    ),
    "change org": (
        World.founder,
        lambda w: w.auth.update_org(org_id=w.org.id, name="F", metadata={"a": 1}),
    ),
    "members": (World.founder, lambda w: w.auth.list_org_members(slug=w.slug)),
    "switch": (
        World.founder,
        lambda w: w.auth.set_active_org(
            session_id=w.auth.authenticate(Request(w.entered.tokens.access_token)).session_id,
            org_id=w.org.id,
            refresh_token=w.entered.tokens.refresh_token,
        ),
    ),
}


@pytest.fixture(params=BACKENDS)
def world(request, auth_clock):
    service_of, connected = BACKENDS[request.param]
    with (
        service_of(clock=auth_clock) as service,
        connected(service.config, auth_clock, timeout=5.0) as auth,
    ):
        auth._api.http._retries = 0  # they take time, and are another test's
        yield World(request.param, service, auth)


def places(data, path=()):
    """Go through the ways to everything in a JSON value, the value itself first."""
    yield path
    parts = data.items() if isinstance(data, dict) else ()
    parts = enumerate(data[:1]) if isinstance(data, list) else parts
    for key, value in parts:
        yield from places(value, (*path, key))


def with_value(data, path, value):
    """Return a copy of a JSON value with one thing in it replaced, or taken out."""
    if not path:
        return None if value is MISSING else value
    copied = copy.deepcopy(data)
    parent = copied
    for key in path[:-1]:
        parent = parent[key]
    if value is MISSING:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return copied


def attempt(world, act, change):
    """Do an act of somebody new with a changed answer; return what went wrong, or None."""
    prepare, do = ACTS[act]
    world.change = None
    prepare(world)
    world.replies, world.change = [], change
    config = world.auth.config
    secrets = [PASSWORD, "another good password"]
    secrets += [getattr(config, n) for n in ("api_key", "service_role_key") if hasattr(config, n)]
    if getattr(world, "entered", None) and world.entered.tokens:
        secrets += [world.entered.tokens.refresh_token, world.entered.tokens.access_token]
    try:
        do(world)
    except AuthError as error:
        shown = repr(error) + str(error) + repr(error.__cause__) + repr(error.__context__)
        return next((f"shows {secret}" for secret in secrets if secret in shown), None)
    except Exception as error:
        return repr(error)[:200]
    return None


def good_answers(world, act):
    """Return the JSON of each answer that an act asks for."""
    attempt(world, act, None)
    found = []
    for reply in world.replies:
        with contextlib.suppress(ValueError):
            found.append((len(found), json.loads(reply.body or b"null")))
    return found


@pytest.mark.parametrize("act", ACTS)
def test_any_field_may_be_anything(world, act):
    wrong, values = [], itertools.cycle(VALUES)
    for number, data in good_answers(world, act):
        for path in places(data):
            for value in VALUES if FULL else [next(values)]:
                body = json.dumps(with_value(data, path, value)).encode()

                def change(reply, body=body):
                    return dataclasses.replace(reply, body=body)

                found = attempt(world, act, (number, change))
                if found is not None:
                    shown = "missing" if value is MISSING else repr(value)[:30]
                    wrong.append(f"answer {number}, {path} = {shown}: {found}")
    assert not wrong, "\n".join(wrong[:20])


def gzipped(reply):
    body = gzip.compress(b" " * 9_000_000)  # nine megabytes in nine kilobytes
    return dataclasses.replace(reply, body=body, headers={"Content-Encoding": "gzip"})


STRANGE = {
    "HTML": lambda reply: Reply(200, b"<html>Please sign in to the network</html>"),
    "a redirect": lambda reply: Reply(302, headers={"Location": "http://169.254.169.254/latest"}),
    "a redirect with the answer": lambda reply: Reply(307, reply.body, {"Location": "/elsewhere"}),
    "a gzip bomb": gzipped,
    "two lengths": lambda reply: Reply(
        raw=iter([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 9\r\n\r\n{}"])
    ),
    "a length that is none": lambda reply: Reply(
        raw=iter([b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{}"])
    ),
    "chunks that do not end": lambda reply: Reply(
        raw=iter([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n{}"])
    ),
    "an endless header": lambda reply: Reply(
        raw=iter([b"HTTP/1.1 200 OK\r\n", *[b"X: " + b"x" * 60_000 + b"\r\n"] * 200])
    ),
    "no HTTP": lambda reply: Reply(raw=iter([b"SSH-2.0-OpenSSH_9.6\r\n"])),
    "not UTF-8": lambda reply: Reply(200, b'{"id": "\xff\xfe"}'),
    "NaN": lambda reply: Reply(200, b'{"id": NaN, "expires_in": Infinity}'),
    "a number of ten thousand digits": lambda reply: Reply(200, b"9" * 10_000),
    "a name twice": lambda reply: Reply(200, b'{"id": "1", "id": ["2"]}'),
    "nothing, with 204": lambda reply: Reply(204),
}


@pytest.mark.parametrize("act", ["sign in", "refresh", "look", "list"])
@pytest.mark.parametrize("strange", STRANGE)
def test_what_is_no_answer_is_an_error(world, act, strange):
    """A redirect is not followed, and nothing is unpacked."""
    prepare, do = ACTS[act]
    prepare(world)
    world.replies, world.change = [], (0, STRANGE[strange])
    with pytest.raises(AuthError):
        do(world)
    assert len(world.replies) == 1


@pytest.mark.parametrize("act", ["sign in", "refresh", "look"])
def test_an_answer_that_ends_at_any_byte_is_an_error(world, act):
    prepare, do = ACTS[act]
    attempt(world, act, None)
    size = len(bytes(world.replies[0]))
    for cut in range(0, size, 1 if FULL else 23):
        prepare(world)
        world.replies = []
        world.change = (0, lambda reply, cut=cut: Reply(raw=iter([bytes(reply)[:cut]])))
        with pytest.raises(AuthError):
            do(world)
        world.change = None


def test_an_answer_that_comes_drop_by_drop_ends_in_time(world):
    world.newcomer()
    world.auth._api.http._total_timeout = 0.3

    def drip(reply):
        def drops():
            for byte in bytes(reply):
                time.sleep(0.05)
                yield bytes([byte])

        return Reply(raw=drops())

    world.replies, world.change = [], (0, drip)
    began = time.monotonic()
    with pytest.raises(AuthError, match="in time"):
        world.auth.get_user(world.id)
    assert time.monotonic() - began < 2


HUGE = "9" * 5000
WEEK = 7 * 24 * 3600
HEADERS = {
    "Retry-After, huge": (429, {"Retry-After": HUGE}),
    "Retry-After, far away": (429, {"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}),
    "Retry-After, no date": (503, {"Retry-After": "Fri, 99 Foo 2026 99:99:99 GMT"}),
    "X-Total-Count, huge": (200, {"X-Total-Count": HUGE}),
    "X-Total-Count, foreign digits": (200, {"X-Total-Count": "\u0663"}),
    "X-Request-ID, with colours": (500, {"X-Request-ID": "\x1b[31mred"}),
    "Content-Length, huge": (200, {"Content-Length": HUGE}),
    "Content-Encoding, unknown": (200, {"Content-Encoding": "br, x"}),
}


@pytest.mark.parametrize("act", ["sign in", "look", "count"])
@pytest.mark.parametrize("header", HEADERS)
def test_any_header_may_be_anything(world, act, header):
    """What is passed on to a browser is a number of seconds that it can understand."""
    status, headers = HEADERS[header]
    lines = [f"HTTP/1.1 {status} Said", *(f"{name}: {it}" for name, it in headers.items())]
    prepare, do = ACTS[act]
    prepare(world)

    def change(reply):
        parts = ["\r\n".join(lines).encode("utf-8"), b"\r\n\r\n", reply.body]
        return Reply(raw=iter([b"".join(parts)]))

    world.replies, world.change = [], (0, change)
    told = []
    try:
        do(world)
    except AuthError as error:
        told.append(error)
    assert all(0 <= it.retry_after <= WEEK for it in told if isinstance(it, RateLimitedError))


TIMES = ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-02-30T00:00:00Z", "now"]


@pytest.mark.parametrize("moment", TIMES)
def test_a_time_that_there_is_not_is_an_error(world, moment):
    def change(reply):
        user = json.loads(reply.body) | {"created_at": moment}
        return dataclasses.replace(reply, body=json.dumps(user).encode())

    world.newcomer()
    world.replies, world.change = [], (0, change)
    with pytest.raises(AuthBackendError, match="time"):
        world.auth.get_user(world.id)


def test_a_membership_that_was_not_asked_for_counts_for_nothing(auth_clock):
    """A service that ignored the filter would make a stranger an owner."""
    with (
        FakeWorkOS(clock=auth_clock) as service,
        workos_support.connected(service.config, auth_clock) as auth,
    ):
        world = World("workos", service, auth)
        world.founder()
        owner = world.id
        world.newcomer()
        rows = list(service.environment.memberships.values())
        service.disturb(200, {"data": rows}, path="/organization_memberships")
        with pytest.raises(OrgMemberNotFoundError):
            auth.get_org_member(org_id=world.org.id, user_id=world.id)
        assert auth.get_org_member(org_id=world.org.id, user_id=owner).role == "owner"
