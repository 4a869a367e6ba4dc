"""The table of what an error of Redis means, row by row, each met at a real server where one can be made to say it."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress

import pytest
import redis
from kombu.exceptions import OperationalError, VersionMismatch

from memrepo.dispatch.connection import make_app
from memrepo.redis.address import parse_redis_url
from memrepo.redis.client import connect, understand
from memrepo.redis.errors import Action, Meaning, meaning_of
from memrepo.settings import Settings
from tests.causes.conftest import Servers

ANEW, WAIT, REFUSE, REPORT = Action.CONNECT_ANEW, Action.WAIT, Action.REFUSE, Action.REPORT

MET = [
    ("refused", ANEW, "nobody listens there: Connection refused"),
    ("unknown_host", ANEW, "there is no such host: "),
    ("no_socket", ANEW, "there is no such socket: No such file or directory"),
    ("closes_at_once", ANEW, "the connection was lost: "),
    ("replica", ANEW, "READONLY You can't write against a read only replica"),
    ("replica_without_primary", ANEW, "replica"),
    ("never_answers", WAIT, "it accepted the connection, but does not answer in time: "),
    ("full", WAIT, "its memory is full: OOM command not allowed when used memory > 'maxmemory'"),
    ("busy", WAIT, "BUSY Valkey is busy running a script"),
    ("cannot_save", WAIT, "MISCONF "),
    ("too_few_replicas", WAIT, "NOREPLICAS Not enough good replicas to write"),
    ("too_many_clients", WAIT, "max number of clients reached"),
    ("wrong_password", REFUSE, "WRONGPASS invalid username-password pair or user is disabled"),
    ("no_password", REFUSE, "check user and password in its URL: NOAUTH "),
    ("no_right_to_a_command", REFUSE, "NOPERM User reader has no permissions to run the 'set' command"),
    ("no_right_to_keys", REFUSE, "NOPERM No permissions to access a key"),
    ("database_out_of_range", REFUSE, "no database of that number: DB index is out of range"),
    ("tls_to_a_plain_port", REFUSE, "the URL begins with redis://: the port answers without TLS"),
    ("plain_to_a_tls_port", REFUSE, "the URL must begin with rediss://"),
    (
        "unknown_certificate",
        REFUSE,
        "CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate",
    ),
    ("certificate_of_another_host", REFUSE, "certificate is not valid for '127.0.0.1'"),
    ("not_redis", REFUSE, "what listens there is not Redis: Protocol Error: b'HTTP/1.1 400 Bad Request'"),
    ("forbids_a_command", REFUSE, "unknown command 'SET'"),
    ("another_type", REFUSE, "WRONGTYPE Operation against a key holding the wrong kind of value"),
]


def meet(url: str) -> Meaning:
    """Say what writing to a server of that address ends in, by redis-py alone."""
    address = parse_redis_url(url, "URL")
    try:
        with connect(address, connect_timeout_s=2, timeout_s=2) as client:
            _write(client)
    except (redis.RedisError, OSError) as error:
        return understand(error, address)
    pytest.fail("nothing went wrong")


def meet_through_kombu(url: str) -> Meaning:
    """Say the same by the way that a producer's requests take."""
    settings = Settings(url, url, connect_timeout_s=2, enqueue_timeout_s=2)

    def once(error: Exception, _: float) -> None:
        raise error

    connection = make_app(settings).connection_for_write()
    try:
        connection.ensure_connection(errback=once)
        _write(connection.channel().client)
    except (OperationalError, redis.RedisError, OSError) as error:
        return understand(error, settings.broker)
    finally:
        with suppress(OSError, redis.RedisError):
            connection.collect()
    pytest.fail("nothing went wrong")


def _write(client: redis.Redis) -> None:
    client.set("memrepo.tried", 1)
    client.lpush("memrepo.000", "x")


@pytest.mark.parametrize(("cause", "action", "says"), MET, ids=[cause for cause, *_ in MET])
def test_what_a_server_meets_us_with_is_known_for_what_it_is(
    servers: Servers, cause: str, action: Action, says: str
) -> None:
    meaning = meet(servers.url(cause))

    assert (meaning.action, says in meaning.reason) == (action, True), meaning.reason
    assert "\n" not in meaning.reason
    assert "s3cr3t" not in meaning.reason


@pytest.mark.parametrize(
    ("cause", "action", "says"),
    [row for row in MET if row[0] != "tls_to_a_plain_port"],  # kombu hears nothing: it is asked for before
    ids=[cause for cause, *_ in MET if cause != "tls_to_a_plain_port"],
)
def test_what_kombu_made_of_it_means_the_same(
    servers: Servers, cause: str, action: Action, says: str
) -> None:
    meaning = meet_through_kombu(servers.url(cause))

    assert (meaning.action, says in meaning.reason) == (action, True), meaning.reason


@pytest.mark.parametrize("command", [("MGET", "a"), ("GET", "a"), ("LPUSH", "a", "1")])
def test_a_sentinel_is_told_as_one_whatever_it_was_asked_first(
    servers: Servers, command: tuple[str, ...]
) -> None:
    url = parse_redis_url(servers.url("sentinel"), "URL")
    with (
        connect(url, connect_timeout_s=2, timeout_s=2) as client,
        pytest.raises(redis.ResponseError, match="unknown command") as caught,
    ):
        client.execute_command(*command)

    assert understand(caught.value, url).reason.startswith("it is a Sentinel: ")


def test_a_server_whose_certificate_is_verified_serves(servers: Servers) -> None:
    with connect(parse_redis_url(servers.url("verified"), "URL"), connect_timeout_s=2, timeout_s=2) as client:
        assert client.ping()


def wrapped(inner: Exception, outer: Exception) -> Exception:
    """Return an error as a library raises it from another."""
    outer.__cause__ = inner
    return outer


@pytest.mark.parametrize(
    ("error", "action", "says"),
    [
        (redis.exceptions.BusyLoadingError("Redis is loading the dataset in memory"), ANEW, "LOADING"),
        (redis.exceptions.TryAgainError("Multiple keys request during rehashing of slot"), WAIT, "TRYAGAIN"),
        (redis.exceptions.NoScriptError("No matching script."), WAIT, "NOSCRIPT"),
        (
            redis.exceptions.MovedError("3999 127.0.0.1:6381"),
            REFUSE,
            "Redis Cluster is not supported: use one primary",
        ),
        (redis.exceptions.AskError("3999 127.0.0.1:6381"), REFUSE, "ASK 3999"),
        (redis.exceptions.ClusterDownError("The cluster is down"), REFUSE, "CLUSTERDOWN"),
        (
            redis.exceptions.ClusterCrossSlotError("Keys in request don't hash to the same slot"),
            REFUSE,
            "CROSSSLOT",
        ),
        (redis.exceptions.ResponseError("SELECT is not allowed in cluster mode"), REFUSE, "Redis Cluster"),
        (redis.exceptions.AuthenticationError("invalid password"), REFUSE, "check user and password"),
        (redis.exceptions.AuthenticationError("Authentication required."), REFUSE, "NOAUTH Authentication"),
        (redis.exceptions.ResponseError("DENIED Redis is running in protected mode"), REFUSE, "DENIED"),
        (
            redis.exceptions.InvalidResponse("Protocol Error: b'\\x15\\x03\\x01\\x00\\x02'"),
            REFUSE,
            "rediss://",
        ),
        (
            redis.exceptions.TimeoutError("Timeout connecting to server"),
            ANEW,
            "no connection was made in time",
        ),
        (redis.exceptions.MaxConnectionsError("Too many connections"), WAIT, "too many clients"),
        (ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), ANEW, "the connection was lost"),
        (
            ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number"),
            REFUSE,
            "no TLS can be agreed on",
        ),
        (
            socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
            ANEW,
            "cannot be looked up now",
        ),
        (
            ConnectionResetError(104, "Connection reset by peer"),
            ANEW,
            "the connection was lost: Connection reset by peer",
        ),
        (OSError(101, "Network is unreachable"), ANEW, "no connection can be made: Network is unreachable"),
        (OSError(24, "Too many open files"), WAIT, "too many files are open here"),
        (
            PermissionError(13, "Permission denied"),
            REFUSE,
            "may not be opened by this user: Permission denied",
        ),
        (
            ModuleNotFoundError("No module named 'redis'"),
            REFUSE,
            "a library that memrepo needs is missing here, or unfit",
        ),
        (
            VersionMismatch("Redis transport requires redis-py versions 3.2.0 or later"),
            REFUSE,
            "unfit: Redis transport",
        ),
        (redis.ResponseError("NEWCODE what no version of today says"), REPORT, "NEWCODE what no version"),
        (TypeError("an argument with content"), REPORT, "a fault of memrepo itself: TypeError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_what_no_server_here_can_be_made_to_say_is_known_too(
    error: Exception, action: Action, says: str
) -> None:
    bare, in_kombus = meaning_of(error), meaning_of(wrapped(error, OperationalError(str(error))))

    assert (bare.action, says in bare.reason) == (action, True), bare.reason
    assert in_kombus == bare or action is REPORT


@pytest.mark.parametrize(
    ("text", "action"),
    [
        (
            "Error running script (call to f_1): @user_script:1: -READONLY You can't write against a replica.",
            ANEW,
        ),
        (
            "Error running script (call to f_1): @user_script:1: -OOM command not allowed when used memory",
            WAIT,
        ),
        ("READONLY You can't write against a read only replica. script: 3a, on @user_script:1.", ANEW),
    ],
)
def test_what_a_script_met_is_known_inside_the_scripts_own_error(text: str, action: Action) -> None:
    assert meaning_of(redis.ResponseError(text)).action is action


def test_no_content_that_an_error_repeats_is_in_the_reason(servers: Servers) -> None:
    secret = "what the user wrote"
    with (
        redis.Redis.from_url(servers.url("full")) as client,
        pytest.raises(redis.ResponseError) as in_pipeline,
    ):
        client.pipeline(transaction=False).lpush("memrepo.000", secret).execute()
    with (
        redis.Redis.from_url(servers.url("healthy")) as client,
        pytest.raises(redis.ResponseError) as unknown,
    ):
        client.execute_command("NOSUCH", secret)
    assert secret in str(in_pipeline.value)
    assert secret in str(unknown.value)

    assert meaning_of(in_pipeline.value).words == "OOM command not allowed when used memory > 'maxmemory'."
    assert meaning_of(unknown.value).words == "unknown command 'NOSUCH'"


def test_the_outermost_known_error_decides_not_one_that_was_handled_before() -> None:
    before = wrapped(redis.exceptions.ReadOnlyError("a replica"), redis.exceptions.OutOfMemoryError("full"))

    assert meaning_of(before).action is WAIT


def test_an_error_of_tls_without_a_number_is_told_as_its_text() -> None:
    assert meaning_of(ssl.SSLError("the handshake was cut short")).reason.endswith(
        ": the handshake was cut short"
    )
