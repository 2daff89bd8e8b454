from __future__ import annotations

import io
import json
import logging
import os
import pickle
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derp_auth_lite._http import (
    HTTPClient,
    retry_after,
)
from derp_auth_lite.exceptions import (
    AuthBackendError,
    UserNotFoundError,
)

from .forks import in_child
from .servers.faults import FAULTS
from .servers.loopback import Call, LoopbackServer, Reply, free_port, json_reply

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def echo(call):
    return json_reply(
        {
            "method": call.method,
            "target": call.target,
            "headers": dict(call.headers),
            "body": call.content.decode(),
        }
    )


@pytest.fixture
def server():
    with LoopbackServer(echo) as server:
        yield server


def quick(url, **settings):
    """A client that is not patient, for servers that misbehave."""
    settings = {"timeout": (0.5, 0.5), "total_timeout": 1.0, "retries": 0, **settings}
    return HTTPClient(url, name="Example", **settings)


def story(error):
    """Return what an error and everything that led to it say."""
    told = []
    while error is not None:
        told.append(repr(error) + str(error))
        error = error.__cause__ or error.__context__
    return "\n".join(told)


class TestRequest:
    def test_json_query_and_headers_arrive_as_given(self, server):
        """A call sends its query, its JSON body and both kinds of headers."""
        client = HTTPClient(server.url + "/v1/", headers={"apikey": "k"})

        result = client.request(
            "POST", "/users", params={"q": "a b&c"}, json={"n": "é"}, headers={"X-One": "1"}
        )

        sent = result.json_object()
        assert result.status == 200
        assert sent["method"] == "POST"
        assert sent["target"] == "/v1/users?q=a+b%26c"
        assert json.loads(sent["body"]) == {"n": "é"}
        assert sent["headers"]["apikey"] == "k"
        assert sent["headers"]["x-one"] == "1"
        assert sent["headers"]["content-type"] == "application/json"

    def test_a_form_is_sent_as_a_form(self, server):
        """A form body is form-encoded, and says so."""
        result = HTTPClient(server.url).request("POST", "/", form={"code": "a+b=", "é": "1"})

        sent = result.json_object()
        assert sent["body"] == "code=a%2Bb%3D&%C3%A9=1"
        assert sent["headers"]["content-type"] == "application/x-www-form-urlencoded"

    def test_an_empty_answer_is_none(self):
        """A 204 has no data, and that is no failure."""
        with LoopbackServer(lambda _: Reply(204)) as server:
            assert HTTPClient(server.url).request("DELETE", "/x").data is None

    def test_header_names_of_an_answer_compare_without_case(self):
        """An answer's headers are found however they are spelled."""
        with LoopbackServer(lambda _: json_reply([], headers={"X-Total-Count": "7"})) as server:
            headers = HTTPClient(server.url).request("GET", "/").headers

        assert headers["x-total-count"] == headers["X-Total-Count"] == "7"

    def test_the_environment_decides_nothing(self, server, monkeypatch, tmp_path):
        """Neither a proxy nor a .netrc nor a bundle named in the environment has any effect."""
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login u password p\n")
        monkeypatch.setenv("NETRC", str(netrc))
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none"))

        sent = HTTPClient(server.url).request("GET", "/").json_object()

        assert "authorization" not in sent["headers"]

    def test_cookies_are_not_kept(self):
        """A cookie that a service sets is not sent back to it."""
        answer = json_reply({}, headers={"Set-Cookie": "a=b; Path=/"})
        with LoopbackServer(lambda _: answer) as server:
            client = HTTPClient(server.url)
            client.request("GET", "/")
            client.request("GET", "/")

            assert all("cookie" not in call.headers for call in server.calls)

    def test_a_connection_is_used_again(self, server):
        """Calls one after another share a connection."""
        client = HTTPClient(server.url)
        for _ in range(5):
            client.request("GET", "/")

        assert len({call.peer for call in server.calls}) == 1

    def test_close_lets_connections_go_and_the_client_works_on(self, server):
        """A closed client opens a new connection at the next call."""
        client = HTTPClient(server.url)
        client.request("GET", "/")
        client.close()
        client.request("GET", "/")

        assert len({call.peer for call in server.calls}) == 2

    def test_many_threads_share_a_client(self, server):
        """Eight threads get their own answers from one client."""
        client = HTTPClient(server.url)
        wrong = []

        def work(number):
            for index in range(25):
                target = f"/{number}/{index}"
                if client.request("GET", target).json_object()["target"] != target:
                    wrong.append(target)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert wrong == []
        assert len(server.calls) == 200

    def test_a_path_cannot_change_the_host(self):
        """A path that would run on from the host's name is a programmer's mistake."""
        client = HTTPClient("https://api.example.com")

        with pytest.raises(ValueError, match="slash"):
            client.request("GET", "@evil.example/x")

    def test_a_body_is_json_or_a_form(self):
        """Both bodies at once are a programmer's mistake."""
        with pytest.raises(ValueError, match="not both"):
            HTTPClient("https://api.example.com").request("POST", "/", json={}, form={})

    @pytest.mark.parametrize("value", ["a\r\nb", "ünï\u2713"])
    def test_a_header_that_cannot_be_sent_does_not_show_its_value(self, value):
        """A token that no header can carry is a typed error, without the token in its text."""
        client = quick(f"http://127.0.0.1:{free_port()}")

        with pytest.raises(AuthBackendError) as caught:
            client.request("GET", "/", headers={"Authorization": f"Bearer s3cret{value}"})

        assert "s3cret" not in story(caught.value)


class TestFailures:
    @pytest.mark.parametrize("fault", [f for f in FAULTS if f not in ("a JSON string", "nothing")])
    def test_a_broken_service_is_a_backend_error_in_time(self, fault):
        """Whatever a service sends, the call ends with AuthBackendError within its time."""
        with LoopbackServer(FAULTS[fault]) as server:
            client = quick(server.url, total_timeout=0.4)
            started = time.monotonic()
            with pytest.raises(AuthBackendError):
                client.request("GET", "/")

            assert time.monotonic() - started < 1.0
            assert len(server.calls) == 1

    @pytest.mark.parametrize("fault", ["a JSON string", "nothing"])
    def test_data_that_is_no_object_is_a_backend_error(self, fault):
        """Where an object is expected, other JSON is a failure of the service."""
        with (
            LoopbackServer(FAULTS[fault]) as server,
            pytest.raises(AuthBackendError, match="Example answered with something other"),
        ):
            quick(server.url).request("GET", "/").json_object()

    @pytest.mark.parametrize("length", [99, 100, 101, 5000])
    def test_an_answer_is_read_up_to_its_limit(self, length):
        """JSON of the longest length is read, one byte more is refused."""
        body = b'"' + b"x" * (length - 2) + b'"'
        with LoopbackServer(lambda _: Reply(200, body)) as server:
            client = quick(server.url, max_bytes=100)
            if length <= 100:
                assert len(client.request("GET", "/").data) == length - 2
            else:
                with pytest.raises(AuthBackendError, match="more than 100 bytes"):
                    client.request("GET", "/")

    def test_ten_megabytes_are_not_read(self):
        """An endless answer is given up at the limit, long before its end."""
        sent = []

        def endless():
            yield b"HTTP/1.1 200 OK\r\n\r\n"
            for _ in range(10_000):
                sent.append(65_536)
                yield b" " * 65_536

        with (
            LoopbackServer(lambda _: Reply(raw=endless())) as server,
            pytest.raises(AuthBackendError, match="more than 1048576 bytes"),
        ):
            quick(server.url, total_timeout=5).request("GET", "/")

        assert sum(sent) < 20 * 1024 * 1024

    def test_a_compressed_answer_is_refused(self):
        """What was not asked for is not unpacked: a small answer could become a huge one."""
        answer = Reply(200, b"{}", {"Content-Encoding": "br"})
        with (
            LoopbackServer(lambda _: answer) as server,
            pytest.raises(AuthBackendError, match="compressed"),
        ):
            quick(server.url).request("GET", "/")

        assert server.calls[0].headers["accept-encoding"] == "identity"

    def test_a_refused_connection_is_a_backend_error(self):
        """A service that does not listen is named with its host; the query stays out of it."""
        with pytest.raises(AuthBackendError) as caught:
            quick(f"http://127.0.0.1:{free_port()}").request("GET", "/x", params={"code": "s3cret"})

        assert "Example (127.0.0.1)" in caught.value.message
        assert caught.value.__cause__ is not None
        assert "s3cret" not in story(caught.value)

    def test_a_server_that_does_not_take_connections_is_a_backend_error(self):
        """Connecting to a host that drops packets ends with the connect time-out."""
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            address = listener.getsockname()
            fillers = [socket.socket() for _ in range(4)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(address)
            started = time.monotonic()
            with pytest.raises(AuthBackendError):
                quick(f"http://127.0.0.1:{address[1]}").request("GET", "/")
            for filler in fillers:
                filler.close()

        assert time.monotonic() - started < 1.2

    def test_an_unknown_host_is_a_backend_error(self):
        """A name that cannot be looked up is a failure of the network."""
        with pytest.raises(AuthBackendError):
            quick("http://nothing.invalid").request("GET", "/")

    def test_a_server_without_tls_is_a_backend_error(self, server):
        """A broken TLS handshake is a typed error."""
        with pytest.raises(AuthBackendError):
            quick(server.url.replace("http:", "https:")).request("GET", "/")

    @given(st.binary(max_size=300))
    def test_no_bytes_on_the_wire_raise_anything_else(self, junk):
        """After 'HTTP/1.1 200' a server may send any bytes: an answer, or AuthBackendError."""
        answer = Reply(raw=iter([b"HTTP/1.1 200 OK\r\n" + junk]))
        with LoopbackServer(lambda _: answer) as server:
            try:
                quick(server.url).request("GET", "/")
            except AuthBackendError:
                pass

    def test_errors_cross_processes(self):
        """A failure of the network can be pickled."""
        with pytest.raises(AuthBackendError) as caught:
            quick(f"http://127.0.0.1:{free_port()}").request("GET", "/")

        assert pickle.loads(pickle.dumps(caught.value)).message == caught.value.message


class TestTranslation:
    def test_a_backend_names_the_error_of_a_status(self):
        """The table of a backend sees status, body and headers, and its error is raised."""
        seen = []

        def errors(status, body, headers):
            seen.append((status, body["code"], headers["X-SB-Error-Code"]))
            return UserNotFoundError()

        answer = json_reply({"code": "user_not_found"}, 404, {"x-sb-error-code": "user_not_found"})
        with LoopbackServer(lambda _: answer) as server, pytest.raises(UserNotFoundError):
            quick(server.url).request("GET", "/", errors=errors)

        assert seen == [(404, "user_not_found", "user_not_found")]

    @pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b"null", b"\xff"])
    def test_an_error_body_that_is_no_object_is_an_empty_one(self, body):
        """A table can always look into the body."""
        seen = []
        with (
            LoopbackServer(lambda _: Reply(400, body)) as server,
            pytest.raises(AuthBackendError, match="status 400"),
        ):
            quick(server.url).request("GET", "/", errors=lambda s, b, h: seen.append(b))

        assert seen == [{}]

    def test_a_redirect_is_translated_like_a_refusal(self):
        """A redirect is not followed: it is an answer outside 2xx."""
        with (
            LoopbackServer(lambda _: Reply(303, b"", {"Location": "/x"})) as server,
            pytest.raises(AuthBackendError, match="status 303"),
        ):
            quick(server.url).request("GET", "/")

        assert len(server.calls) == 1


def flaky(*answers):
    """Give the answers one after another, and the last one for ever."""
    left = list(answers)

    def answer(call: Call) -> Reply:
        return left.pop(0) if len(left) > 1 else left[0]

    return answer


def hang_up():
    return Reply(raw=iter([b""]))


class TestRetries:
    @pytest.mark.parametrize("status", [429, 502, 503, 504])
    def test_an_idempotent_call_is_repeated(self, status):
        """A passing failure of a GET is not seen by the caller."""
        with LoopbackServer(flaky(Reply(status), json_reply({"a": 1}))) as server:
            client = quick(server.url, retries=2, total_timeout=5)

            assert client.request("GET", "/").data == {"a": 1}
            assert len(server.calls) == 2

    def test_a_lost_connection_is_repeated(self):
        """A GET whose connection breaks is sent once more."""
        with LoopbackServer(flaky(hang_up(), json_reply(1))) as server:
            assert quick(server.url, retries=1, total_timeout=5).request("GET", "/").data == 1

    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
    @pytest.mark.parametrize("answer", [hang_up, lambda: Reply(503)])
    def test_what_changes_something_is_not_repeated(self, method, answer):
        """A call that may have had an effect is sent once."""
        with LoopbackServer(lambda _: answer()) as server, pytest.raises(AuthBackendError):
            quick(server.url, retries=2).request(method, "/")

        assert len(server.calls) == 1

    def test_a_caller_may_say_that_a_call_is_idempotent(self):
        """A POST that is declared idempotent is repeated, a GET that is not one is not."""
        with LoopbackServer(flaky(Reply(503), json_reply(1))) as server:
            client = quick(server.url, retries=1, total_timeout=5)
            assert client.request("POST", "/", json={"a": 1}, idempotent=True).data == 1
            assert [call.content for call in server.calls] == [b'{"a":1}'] * 2

        with LoopbackServer(lambda _: Reply(503)) as server, pytest.raises(AuthBackendError):
            quick(server.url, retries=2).request("GET", "/", idempotent=False)
        assert len(server.calls) == 1

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 500, 501])
    def test_a_final_answer_is_not_repeated(self, status):
        """Only failures that pass are worth a second call."""
        with LoopbackServer(lambda _: Reply(status)) as server, pytest.raises(AuthBackendError):
            quick(server.url, retries=2).request("GET", "/")

        assert len(server.calls) == 1

    def test_retries_come_to_an_end(self):
        """A service that stays down is asked retries + 1 times, and its status is translated."""
        with LoopbackServer(lambda _: Reply(503)) as server, pytest.raises(AuthBackendError):
            quick(server.url, retries=2, total_timeout=5).request("GET", "/")

        assert len(server.calls) == 3

    def test_the_whole_call_has_one_deadline(self):
        """Retries do not stretch the time that a call may last."""
        with LoopbackServer(FAULTS["no answer"]) as server:
            client = quick(server.url, timeout=(0.3, 0.3), total_timeout=0.8, retries=10)
            started = time.monotonic()
            with pytest.raises(AuthBackendError):
                client.request("GET", "/")

            assert time.monotonic() - started < 1.1
            assert 1 < len(server.calls) < 4

    def test_retry_after_is_waited_for(self):
        """A service that asks for a pause gets it."""
        answers = flaky(Reply(429, b"", {"Retry-After": "1"}), json_reply(1))
        with LoopbackServer(answers) as server:
            started = time.monotonic()
            quick(server.url, retries=1, total_timeout=5).request("GET", "/")

        assert time.monotonic() - started >= 1.0

    @pytest.mark.parametrize("asked", ["11", "3600", "99999999999999999999"])
    def test_a_long_retry_after_is_not_waited_for_and_not_cut_short(self, asked):
        """A service that asks for more than ten seconds is not asked again."""
        answer = Reply(503, b"", {"Retry-After": asked})
        started = time.monotonic()
        with LoopbackServer(lambda _: answer) as server, pytest.raises(AuthBackendError):
            quick(server.url, retries=2, total_timeout=60).request("GET", "/")

        assert time.monotonic() - started < 2
        assert len(server.calls) == 1

    @pytest.mark.parametrize(
        ("header", "seconds"),
        [
            ("0", 0.0),
            ("120", 120.0),
            (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
            (format_datetime(NOW - timedelta(days=1), usegmt=True), 0.0),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("٣", None),
            ("Mon, 99 Foo 2030 00:00:00 GMT", None),
        ],
    )
    def test_both_forms_of_retry_after_are_read(self, header, seconds):
        """Seconds and dates are understood, rubbish is no wish."""
        assert retry_after({"Retry-After": header}, lambda: NOW) == seconds
        assert retry_after({}, lambda: NOW) is None


class TestFork:
    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
    def test_a_child_opens_its_own_connection(self, server):
        """After fork neither process speaks on a connection of the other."""
        client = HTTPClient(server.url)
        client.request("GET", "/parent")

        status = in_child(lambda: client.request("GET", "/child").status == 200)
        client.request("GET", "/parent")

        peers = {path: call.peer for path, call in zip(server.paths(), server.calls, strict=True)}
        assert status == 0
        assert len(peers) == 2
        assert len(set(peers.values())) == 2
        assert len({call.peer for call in server.calls}) == 2


class TestLogs:
    def test_a_call_is_logged_without_its_secrets(self, caplog):
        """The log names method, path, status and request id, and nothing that was secret."""
        answer = json_reply({"token": "s3cret-body"}, 401, {"X-Request-ID": "req_1"})
        with LoopbackServer(lambda _: answer) as server:
            client = quick(server.url, headers={"apikey": "s3cret-key"})
            with caplog.at_level(logging.DEBUG, "derp_auth_lite"), pytest.raises(AuthBackendError):
                client.request(
                    "POST",
                    "/token",
                    params={"code": "s3cret-query"},
                    json={"password": "s3cret-sent"},
                    headers={"Authorization": "Bearer s3cret-bearer"},
                )

        assert "Example: POST 127.0.0.1/token -> 401" in caplog.text
        assert "req_1" in caplog.text
        assert "s3cret" not in caplog.text

    def test_a_request_id_cannot_forge_a_line(self, caplog):
        """Control characters of a service do not reach the log."""
        raw = (
            b"HTTP/1.1 500 X\r\nX-Request-ID: a\x1b[31m\r\n b"
            + b"c" * 999
            + b"\r\nContent-Length: 0\r\n\r\n"
        )
        with (
            LoopbackServer(lambda _: Reply(raw=iter([raw]))) as server,
            caplog.at_level(logging.DEBUG, "derp_auth_lite"),
            pytest.raises(AuthBackendError),
        ):
            quick(server.url).request("GET", "/")

        (line,) = [r.getMessage() for r in caplog.records if r.name == "derp_auth_lite.http"]
        assert line.isprintable()
        assert len(line) < 200

    def test_a_failure_is_logged_with_its_kind(self, caplog):
        """A call that got no answer is a warning that names the service."""
        with pytest.raises(AuthBackendError):
            quick(f"http://127.0.0.1:{free_port()}").request("GET", "/x", params={"q": "s3cret"})

        assert "Example: GET 127.0.0.1/x failed" in caplog.text
        assert "s3cret" not in caplog.text

    def test_representations_hold_no_secret(self, server):
        """Neither the client nor an answer shows headers or data."""
        client = HTTPClient(server.url, headers={"apikey": "s3cret"})
        result = client.request("GET", "/")

        assert "s3cret" not in repr(client) + repr(result)


def test_the_adapter_reads_like_any_file():
    """The reader below http.client closes once, and its socket with it."""
    from derp_auth_lite._http.adapter import _DeadlineReader

    left, right = socket.socketpair()
    with right:
        late = _DeadlineReader(left, time.monotonic() - 1)
        with pytest.raises(TimeoutError):
            late.readinto(bytearray(1))
        late.close()
        reader = _DeadlineReader(left, time.monotonic() + 5)
        right.sendall(b"x")
        assert io.BufferedReader(reader).read(1) == b"x"
        reader.close()
        left.close()
        assert left.fileno() == -1
