from __future__ import annotations

import os
import threading
from datetime import UTC, datetime, timedelta

import pytest

from derp_auth_lite._http import (
    Remembered,
)
from derp_auth_lite.exceptions import (
    AuthBackendError,
    InvalidTokenError,
)

from .forks import in_child

NOW = datetime(2030, 1, 1, tzinfo=UTC)


class Clock:
    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now

    def advance(self, seconds):
        self.now += timedelta(seconds=seconds)


class Source:
    """Counts how often it is asked; fails while ``down``."""

    def __init__(self):
        self.fetches = 0
        self.down = False

    def __call__(self):
        self.fetches += 1
        if self.down:
            raise AuthBackendError("down")
        return self.fetches


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def source():
    return Source()


@pytest.fixture
def remembered(source, clock):
    return Remembered(source, clock=clock)


class TestRemembered:
    def test_a_document_is_fetched_once_in_its_lifetime(self, remembered, source, clock):
        """Ten minutes long the same document is given, then a new one."""
        assert [remembered.get() for _ in range(3)] == [1, 1, 1]
        clock.advance(599)
        assert remembered.get() == 1
        clock.advance(1)
        assert remembered.get() == 2

    def test_an_old_document_serves_while_the_source_is_down(self, remembered, source, clock):
        """A failing source is asked once a minute, and its last document holds for a day."""
        remembered.get()
        source.down = True
        clock.advance(600)
        assert [remembered.get() for _ in range(10)] == [1] * 10
        assert source.fetches == 2
        clock.advance(60)
        assert remembered.get() == 1
        assert source.fetches == 3
        clock.advance(86_400)
        with pytest.raises(AuthBackendError):
            remembered.get()

    def test_newer_is_limited(self, remembered, source, clock):
        """However often a newer document is asked for, it is fetched once a minute."""
        assert [remembered.newer() for _ in range(100)] == [1] * 100
        clock.advance(60)
        assert [remembered.newer() for _ in range(100)] == [2] * 100

    def test_newer_fails_while_nobody_knows(self, remembered, source, clock):
        """After a failed fetch the question stays open: an error, not an old answer."""
        remembered.get()
        source.down = True
        clock.advance(60)
        for _ in range(10):
            with pytest.raises(AuthBackendError):
                remembered.newer()

        assert source.fetches == 2

    def test_a_first_failure_is_retried_after_five_seconds(self, remembered, source, clock):
        """A source that was down for a moment at first is asked again soon."""
        source.down = True
        for _ in range(10):
            with pytest.raises(AuthBackendError, match="down"):
                remembered.get()
        assert source.fetches == 1

        source.down = False
        clock.advance(5)
        assert remembered.get() == 2

    def test_a_clock_that_is_set_back_keeps_nothing_for_ever(self, remembered, source, clock):
        """A document from the future is fetched anew."""
        remembered.get()
        clock.advance(-3600)

        assert remembered.get() == 2
        assert remembered.get() == 2

    def test_threads_wait_for_one_fetch(self, clock):
        """Many threads at once cause one fetch, and all get its document."""
        begun, go = threading.Event(), threading.Event()
        fetches = []

        def fetch():
            fetches.append(1)
            begun.set()
            go.wait(5)
            return "document"

        remembered = Remembered(fetch, clock=clock)
        got = []
        threads = [threading.Thread(target=lambda: got.append(remembered.get())) for _ in range(8)]
        for thread in threads:
            thread.start()
        begun.wait(5)
        go.set()
        for thread in threads:
            thread.join()

        assert got == ["document"] * 8
        assert len(fetches) == 1

    def test_an_old_document_serves_while_another_thread_fetches(self, clock):
        """Nobody waits for a successor while there is a document."""
        begun, go = threading.Event(), threading.Event()
        documents = iter(["old", "new"])

        def fetch():
            document = next(documents)
            if document == "new":
                begun.set()
                go.wait(5)
            return document

        remembered = Remembered(fetch, clock=clock)
        remembered.get()
        clock.advance(700)
        thread = threading.Thread(target=remembered.get)
        thread.start()
        begun.wait(5)

        assert remembered.get() == "old"
        go.set()
        thread.join()
        assert remembered.get() == "new"

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
    def test_a_fork_during_a_fetch_does_not_hang_the_child(self, clock):
        """The lock that another thread held at the fork is not the child's."""
        begun, go = threading.Event(), threading.Event()
        parent = os.getpid()

        def fetch():
            if os.getpid() == parent:
                begun.set()
                go.wait(5)
            return os.getpid()

        remembered = Remembered(fetch, clock=clock)
        thread = threading.Thread(target=remembered.get)
        thread.start()
        begun.wait(5)
        status = in_child(lambda: remembered.get() == os.getpid())
        go.set()
        thread.join()

        assert status == 0

    def test_a_refusal_of_another_kind_is_not_swallowed(self, clock):
        """Only a failing service is remembered; a bug in the program is shown."""

        def fetch():
            raise InvalidTokenError

        with pytest.raises(InvalidTokenError):
            Remembered(fetch, clock=clock).get()
