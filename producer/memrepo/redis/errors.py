"""What an error of Redis means: one table, for producer and worker, that says what to do about it and why.

It takes whatever redis-py, kombu, ``ssl`` or the socket layer raises, wrapped or not. redis-py's exceptions are known
by their names, so that this works (and imports) without it: that it is missing is one of the causes.
"""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum


class Action(Enum):
    """What to do about an error."""

    CONNECT_ANEW = "connect anew"
    """Drop the connection and make another, after a pause: the server went away, or is not the primary any more."""
    WAIT = "wait"
    """The server is there and cannot do it now: try again after a pause."""
    REFUSE = "refuse"
    """No waiting mends it; somebody has to change a setting, the server, or what is installed."""
    REPORT = "report"
    """Not known here: a fault of ours, until somebody finds out otherwise."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table."""

    action: Action
    says: str


@dataclass(frozen=True, slots=True)
class Meaning:
    """What an error means: its row of the table, and the cause's own words."""

    row: Row
    words: str

    @property
    def action(self) -> Action:
        """What to do about it."""
        return self.row.action

    def is_(self, row: Row) -> bool:
        """Whether it is of a row, whatever that says."""
        return self.row is row

    @property
    def reason(self) -> str:
        """One line: plain words, then the cause's own.

        It may be logged: what servers and libraries repeat of a command (which may hold content) is left out.
        """
        return f"{self.row.says}: {self.words}"


TOO_SLOW_TEXT = "an answer was not whole in time"
"""What the error says by which a connection is given up (see ``memrepo.redis.answers``)."""

_NOT_PRIMARY = Row(Action.CONNECT_ANEW, "it is a replica, or was made one")
_LOADING = Row(Action.CONNECT_ANEW, "it is still loading its data")
_MASTER_DOWN = Row(Action.CONNECT_ANEW, "it is a replica that has lost its primary")
LOST = Row(Action.CONNECT_ANEW, "the connection was lost")
_TOO_SLOW = Row(Action.CONNECT_ANEW, "its answers come in pieces, too slowly")
_NOT_MADE = Row(Action.CONNECT_ANEW, "no connection can be made")
_REFUSED = Row(Action.CONNECT_ANEW, "nobody listens there")
_NO_HOST = Row(Action.CONNECT_ANEW, "there is no such host")
_NO_RESOLVER = Row(Action.CONNECT_ANEW, "its name cannot be looked up now")
_NO_SOCKET = Row(Action.CONNECT_ANEW, "there is no such socket")
_CONNECT_TIMEOUT = Row(Action.CONNECT_ANEW, "no connection was made in time")

_NO_ANSWER = Row(Action.WAIT, "it accepted the connection, but does not answer in time")
FULL = Row(Action.WAIT, "its memory is full")
_BUSY = Row(Action.WAIT, "it is busy with a script")
_CANNOT_SAVE = Row(Action.WAIT, "it takes no writes, as it cannot save them")
_TOO_FEW_REPLICAS = Row(Action.WAIT, "it takes no writes, as too few replicas follow")
_MOVING = Row(Action.WAIT, "it is moving keys")
_TOO_MANY_CLIENTS = Row(Action.WAIT, "too many clients are connected")
_TOO_MANY_FILES = Row(Action.WAIT, "too many files are open here")
_FORGOT_SCRIPT = Row(Action.WAIT, "it has forgotten a script")

LOGIN = Row(Action.REFUSE, "check user and password in its URL")
RIGHTS = Row(Action.REFUSE, "its user lacks a right")
_PROTECTED = Row(Action.REFUSE, "it takes nobody from outside without a password")
_CLUSTER = Row(Action.REFUSE, "Redis Cluster is not supported: use one primary, with replicas or not")
_SENTINEL = Row(
    Action.REFUSE,
    "it is a Sentinel: use sentinel://host:port/name, or the address of the primary that it watches",
)
TOO_OLD = Row(Action.REFUSE, "the server is too old, or forbids a command")
_NO_PRIMARY = Row(Action.REFUSE, "its Sentinels know no primary of that name")
_NO_REPLICA = Row(Action.REFUSE, "no replica follows it")
_NO_REPLICA_NOW = Row(Action.WAIT, "no replica follows it now")
_DATABASE = Row(Action.REFUSE, "it has no database of that number")
OTHER_TYPE = Row(
    Action.REFUSE, "a key that memrepo uses holds something else: give memrepo a database of its own"
)
UNSENDABLE = Row(Action.REPORT, "a value that cannot be sent to it")
_CERTIFICATE = Row(
    Action.REFUSE, "its certificate cannot be verified (?ssl_ca_certs=FILE in the URL says who may sign it)"
)
_NO_TLS = Row(Action.REFUSE, "no TLS can be agreed on; where it speaks none, the URL begins with redis://")
WANTS_TLS = Row(Action.REFUSE, "it speaks TLS: the URL must begin with rediss://")
_NOT_REDIS = Row(Action.REFUSE, "what listens there is not Redis")
_FORBIDDEN = Row(Action.REFUSE, "it may not be opened by this user")
LIBRARY = Row(Action.REFUSE, "a library that memrepo needs is missing here, or unfit")
_UNKNOWN = Row(Action.REPORT, "an error that memrepo does not know")
_FAULT = Row(Action.REPORT, "a fault of memrepo itself")

_BY_CODE: Mapping[str, Row] = {
    "READONLY": _NOT_PRIMARY,
    "LOADING": _LOADING,
    "MASTERDOWN": _MASTER_DOWN,
    "OOM": FULL,
    "BUSY": _BUSY,
    "MISCONF": _CANNOT_SAVE,
    "NOREPLICAS": _TOO_FEW_REPLICAS,
    "TRYAGAIN": _MOVING,
    "NOSCRIPT": _FORGOT_SCRIPT,
    "WRONGPASS": LOGIN,
    "NOAUTH": LOGIN,
    "NOPERM": RIGHTS,
    "DENIED": _PROTECTED,
    "MOVED": _CLUSTER,
    "ASK": _CLUSTER,
    "CLUSTERDOWN": _CLUSTER,
    "CROSSSLOT": _CLUSTER,
    "NOPROTO": TOO_OLD,
    "WRONGTYPE": OTHER_TYPE,
}
"""What a server's answer begins with, by its own word."""

_CODE_OF_CLASS: Mapping[str, str] = {
    "ReadOnlyError": "READONLY",
    "BusyLoadingError": "LOADING",
    "MasterDownError": "MASTERDOWN",
    "OutOfMemoryError": "OOM",
    "TryAgainError": "TRYAGAIN",
    "NoScriptError": "NOSCRIPT",
    "AuthenticationError": "WRONGPASS",
    "AuthenticationWrongNumberOfArgsError": "WRONGPASS",
    "NoPermissionError": "NOPERM",
    "MovedError": "MOVED",
    "AskError": "ASK",
    "ClusterDownError": "CLUSTERDOWN",
    "ClusterCrossSlotError": "CROSSSLOT",
}
"""The same word where redis-py made a class of it and left it out of the text."""

_BY_TEXT: Mapping[str, Row] = {
    "max number of clients": _TOO_MANY_CLIENTS,
    "too many connections": _TOO_MANY_CLIENTS,
    "no connection available": _TOO_MANY_CLIENTS,
    "db index is out of range": _DATABASE,
    "invalid db index": _DATABASE,
    "invalid database": _DATABASE,
    "without any password configured": LOGIN,
    "no password is set": LOGIN,
    "acl failure in script": RIGHTS,
    "the user executing the script": RIGHTS,
    "in cluster mode": _CLUSTER,
    "do not hash to the same slot": _CLUSTER,
    "unknown command": TOO_OLD,
    "unknown subcommand": TOO_OLD,
    "unknown redis command": TOO_OLD,
    "unknown valkey command": TOO_OLD,
    "wrong number of arguments": TOO_OLD,
    "syntax error": TOO_OLD,
    "script killed": _BUSY,
    "is not an integer": OTHER_TYPE,
    "is not a valid float": OTHER_TYPE,
    "attempt to perform arithmetic": OTHER_TYPE,
    "attempt to compare": OTHER_TYPE,
    "attempt to concatenate": OTHER_TYPE,
    "invalid input of type": UNSENDABLE,
    TOO_SLOW_TEXT: _TOO_SLOW,
    "timeout connecting": _CONNECT_TIMEOUT,
    "timeout reading": _NO_ANSWER,
    "timeout writing": _NO_ANSWER,
    "connection closed by server": LOST,
}
"""What has no word of its own, by what redis-py's text says (in lower case)."""

_BY_ERRNO: Mapping[int, Row] = {
    errno.ECONNREFUSED: _REFUSED,
    errno.ENOENT: _NO_SOCKET,
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
    errno.ECONNRESET: LOST,
    errno.ECONNABORTED: LOST,
    errno.EPIPE: LOST,
    errno.ENOTCONN: LOST,
    errno.ETIMEDOUT: _CONNECT_TIMEOUT,
    errno.EMFILE: _TOO_MANY_FILES,
    errno.ENFILE: _TOO_MANY_FILES,
}

_PIPELINE = re.compile(r"\ACommand # \d+ \(.*?\) of pipeline caused error: ", re.DOTALL)
_ARGUMENTS = re.compile(r",? with args beginning with:.*", re.DOTALL)
_FIRST_WORD = re.compile(r"\A-?([A-Z]{2,})\b")
_INNER_WORD = re.compile(
    r"-([A-Z]{3,}) "
)  # a server older than 7 wraps what a script met in an error of its own
_NO_LOGIN = "Authentication required"  # redis-py before 8 has one class for it and for a wrong password
_TLS_ALERT = "\\x15\\x03"
_WORDS_MAX = 200


def meaning_of(error: BaseException) -> Meaning:
    """Return what an error means; the outermost of its causes that the table knows decides."""
    causes = list(_causes(error))
    for cause in causes:
        row = _row_of(cause)
        if row is not None:
            return Meaning(row, words_of(cause))
    for cause in causes:
        if isinstance(cause, OSError) or "ConnectionError" in _redis_names(cause):
            return Meaning(_NOT_MADE, words_of(cause))
        if _redis_names(cause):
            return Meaning(_UNKNOWN, words_of(cause))
    return Meaning(_FAULT, type(error).__name__)


def was_refused(error: BaseException) -> bool:
    """Whether it is a server's own answer to a command or transaction, by which it has done nothing of it."""
    answers = [cause for cause in _causes(error) if "ResponseError" in _redis_names(cause)]
    return bool(answers) and not any(_row_of(cause) is OTHER_TYPE for cause in answers)


class NotPrimaryError(Exception):
    """The server is a replica: it would refuse what writes, and answer what reads with what was."""


class NoPrimaryError(Exception):
    """Sentinels that answer watch no primary of the name that an address has."""


class NoReplicaError(Exception):
    """No replica follows a server that was to have one; ``at_first``: at the first contact with it."""

    def __init__(self, message: str, *, at_first: bool) -> None:
        super().__init__(message)
        self.at_first = at_first


class MissingRightsError(Exception):
    """The server's user may not do all that is needed; the message names what, and the rule that would give it."""


class WrongModeError(Exception):
    """The server is not one that keeps our queues, but a node of a cluster or a Sentinel."""


def refuse_mode(hello: object) -> None:
    """Look at what a server answered to ``HELLO``, if it did.

    A cluster of one node would serve everything but our scripts, later; a Sentinel knows no queue.

    Raises:
        WrongModeError: it is one of these.
    """
    fields = hello if isinstance(hello, Mapping) else {}
    if isinstance(hello, Sequence) and not isinstance(hello, str | bytes):
        fields = dict(zip(hello[::2], hello[1::2], strict=False))
    mode = fields.get(b"mode", fields.get("mode"))
    for wrong in ("cluster", "sentinel"):
        if mode in (wrong, wrong.encode()):
            raise WrongModeError(f"its mode is {wrong}")


def words_of(error: BaseException) -> str:
    """Return an error's own words as one short line, without what they repeat of a command."""
    if isinstance(error, MissingRightsError):  # ours, and whole: a rule that is cut off gives something else
        return str(error)
    if isinstance(error, OSError) and error.strerror and not isinstance(error, ssl.SSLError):
        return error.strerror
    text = _ARGUMENTS.sub("", _PIPELINE.sub("", _text_of(error)))
    code = _code_of(error)
    if code is not None and code not in text:
        text = f"{code} {text}"
    text = " ".join(text.split()) or type(error).__name__
    return text if len(text) <= _WORDS_MAX else text[: _WORDS_MAX - 1] + "…"


def _text_of(error: BaseException) -> str:
    """Return an error's text; an error of TLS that was made without a number shows a tuple otherwise."""
    alone = isinstance(error, ssl.SSLError) and len(error.args) == 1
    return str(error.args[0]) if alone else str(error)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Return an error and what it was raised from, the outermost first."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _row_of(error: BaseException) -> Row | None:
    """Return the row of one exception, its causes left aside; None for what wraps others, or is not known."""
    if isinstance(error, ImportError) or type(error).__name__ == "VersionMismatch":  # kombu's
        return LIBRARY
    if isinstance(error, NotPrimaryError):
        return _NOT_PRIMARY
    if isinstance(error, MissingRightsError):
        return RIGHTS
    if isinstance(error, NoPrimaryError):
        return _NO_PRIMARY
    if isinstance(error, NoReplicaError):
        return _NO_REPLICA if error.at_first else _NO_REPLICA_NOW
    if isinstance(error, WrongModeError):
        return _SENTINEL if "sentinel" in str(error) else _CLUSTER
    return _system_row(error) if isinstance(error, OSError) else _server_row(error)


def _system_row(error: OSError) -> Row | None:
    if isinstance(error, ssl.SSLError):
        return _tls_row(error)
    if isinstance(error, socket.gaierror):
        return _NO_RESOLVER if error.errno == socket.EAI_AGAIN else _NO_HOST
    row = _BY_ERRNO.get(error.errno or 0)
    return _NO_ANSWER if row is None and isinstance(error, TimeoutError) else row


def _server_row(error: BaseException) -> Row | None:
    names = _redis_names(error)
    if "InvalidResponse" in names:
        return WANTS_TLS if _TLS_ALERT in str(error) else _NOT_REDIS
    code = _code_of(error)
    if code is not None:
        return _BY_CODE[code]
    text = words_of(error).lower()
    return next((row for part, row in _BY_TEXT.items() if names and part in text), None)


def _tls_row(error: ssl.SSLError) -> Row:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _CERTIFICATE
    return LOST if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError) else _NO_TLS


def _redis_names(error: BaseException) -> list[str]:
    """Return the names of redis-py's classes that an error is of, the narrowest first; none if it is not redis-py's."""
    return [kind.__name__ for kind in type(error).__mro__ if kind.__module__.partition(".")[0] == "redis"]


def _code_of(error: BaseException) -> str | None:
    """Return the server's own word for an error of redis-py's, if the table knows it."""
    names = _redis_names(error)
    if not names:
        return None
    text = _PIPELINE.sub("", str(error))
    first, inner = _FIRST_WORD.search(text), _INNER_WORD.search(text)
    candidates = [
        getattr(error, "status_code", None),  # of redis-py 8
        first and first[1],
        "NOAUTH" if text.startswith(_NO_LOGIN) else None,
        *(_CODE_OF_CLASS.get(name) for name in names),
        inner and inner[1],
    ]
    return next((code for code in candidates if code in _BY_CODE), None)
