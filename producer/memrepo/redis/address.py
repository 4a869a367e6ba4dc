"""The one parser of addresses of Redis: what redis-py and kombu both understand works, the rest is refused by name.

===============================================  =====================================================
``redis://user:password@host:port/0``            TCP
``rediss://…``                                   TLS; the server must prove who it is, unless the URL says otherwise
``unix:///path?db=0``                            a Unix socket; also ``redis+socket:///path?virtual_host=0``
``sentinel://user:password@h1:26379,h2/name/0``  the primary that Sentinels watch under a name
===============================================  =====================================================

The login of a ``sentinel://`` address is the data nodes'; the Sentinels' own is ``sentinel_username`` and
``sentinel_password`` in its query, and ``ssl=true`` there has both speak TLS.

A refused address is never repeated in the error: wherever it is wrong, its password may be anywhere in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from memrepo.errors import InvalidRequestError
from memrepo.masking import masked_rest

PORT_DEFAULT, SENTINEL_PORT_DEFAULT = 6379, 26379
_TCP, _TLS, _SOCKETS, _SENTINEL = "redis", "rediss", ("unix", "redis+socket"), "sentinel"
_SCHEMES = (_TCP, _TLS, *_SOCKETS, _SENTINEL)

_TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_TLS_OPTIONS = (*_TLS_FILES, "ssl_cert_reqs", "ssl_check_hostname")
_DATABASE_OPTIONS = ("db", "virtual_host")
_OPTIONS: Mapping[str, tuple[str, ...]] = {
    _TCP: _DATABASE_OPTIONS,
    _TLS: (*_DATABASE_OPTIONS, *_TLS_OPTIONS),
    **dict.fromkeys(_SOCKETS, _DATABASE_OPTIONS),
    _SENTINEL: (*_DATABASE_OPTIONS, "sentinel_username", "sentinel_password", "ssl", *_TLS_OPTIONS),
}
_SHOWN = frozenset({*_DATABASE_OPTIONS, "ssl", *_TLS_OPTIONS})
_ONE_HOST = r"(?:[\w.-]*|\[[0-9a-fA-F:.]+\])(?::\d+)?"
_PLACE = re.compile(
    rf"(?P<where>{_ONE_HOST}(?:,{_ONE_HOST})*(?:/[\w./-]*)?)(?:\?(?P<query>[^?#]*))?", re.ASCII
)
_USER = re.compile(r"([\w.-]*):", re.ASCII)
_HOST = re.compile(r"[\w.-]+|[0-9a-fA-F:.]+(?:%[\w.-]+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """Where a Redis is, and how to speak to it.

    ``tls`` is None, or what redis-py takes for TLS; ``path`` is that of a Unix socket, or empty. Where ``sentinels``
    are named, host and port are the first one's: the primary's are asked for at each connection (``find_primary``).
    """

    host: str = "127.0.0.1"
    port: int = PORT_DEFAULT
    path: str = ""
    database: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: Mapping[str, str | bool] | None = None
    sentinels: tuple[tuple[str, int], ...] = ()
    master_name: str = ""
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        """Write the address without its password."""
        user = f"{self.username or ''}:***@" if self.password else ("***@" if self.username else "")
        if self.path:
            return f"unix://{user}{self.path}?db={self.database}"
        if self.sentinels:
            hosts = ",".join(_netloc(host, port) for host, port in self.sentinels)
            return f"{_SENTINEL}://{user}{hosts}/{self.master_name}/{self.database}"
        return f"{self._scheme}://{user}{self._netloc}/{self.database}"

    @property
    def for_celery(self) -> str:
        """The address in the form that kombu and Celery take, password included; TLS is told to them apart.

        Of Sentinels it names the first: our own connections ask them all.
        """
        user = self._login
        if self.path:
            return f"redis+socket://{user}{quote(self.path)}?virtual_host={self.database}"
        return f"{self._scheme}://{user}{self._netloc}/{self.database}"

    @property
    def _login(self) -> str:
        if not self.username and not self.password:
            return ""
        return f"{quote(self.username or '', safe='')}:{quote(self.password or '', safe='')}@"

    @property
    def for_redis(self) -> dict[str, Any]:
        """The arguments of ``redis.Redis`` that mean this address."""
        login = {"username": self.username, "password": self.password, "db": self.database}
        if self.path:
            return {"unix_socket_path": self.path, **login}
        return {
            "host": self.host,
            "port": self.port,
            **login,
            **({"ssl": True, **self.tls} if self.tls else {}),
        }

    @property
    def _scheme(self) -> str:
        return _TLS if self.tls else _TCP

    @property
    def _netloc(self) -> str:
        return _netloc(self.host, self.port)


def _netloc(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_redis_url(text: str, setting: str) -> RedisUrl:
    """Read an address; blanks around it are none of it.

    Raises:
        InvalidRequestError: it is none; the message names the setting and what is wrong, and shows nothing of it.
    """
    if not isinstance(text, str):
        raise _wrong(setting, f"must be str, not {type(text).__name__}")
    url, scheme = _split(text.strip(), setting)
    options = _options(url, scheme, setting)
    if scheme == _SENTINEL:
        return _sentinel(url, options, setting)
    username, password = unquote(url.username or "") or None, unquote(url.password or "") or None
    if scheme in _SOCKETS:
        if url.hostname or len(url.path) < 2:
            raise _wrong(setting, f"must name a socket by its whole path, as in {scheme}:///run/redis.sock")
        database = _database("", options, setting)
        return RedisUrl(path=unquote(url.path), database=database, username=username, password=password)
    return RedisUrl(
        host=_host(url, setting),
        port=_port(url, setting),
        database=_database(unquote(url.path), options, setting),
        username=username,
        password=password,
        tls=_tls(options, setting) if scheme == _TLS else None,
    )


def masked(text: str) -> str:
    """Return a URL, of whatever kind and however wrong, without its password and the secrets in its query.

    Other text comes back as it is.
    """
    text = text.strip()
    scheme, sign, rest = text.partition("://")
    if not sign:
        return f"***@{text.rpartition('@')[2]}" if "@" in text else text
    if scheme.lower() in _SCHEMES:
        return f"{scheme}://{_without_secrets(rest)}"
    return f"{scheme}://{masked_rest(scheme.lower(), rest)}"


def _without_secrets(address: str) -> str:
    """Show of an address, scheme apart, what can be no part of a password; ``***`` for the rest."""
    login, sign, place = address.rpartition("@")
    parts = _PLACE.fullmatch(place)
    if parts is None or "?" in login:
        return "***"
    options = [option.partition("=") for option in (parts["query"] or "").split("&") if option]
    query = "&".join(f"{name}={value if name in _SHOWN else '***'}" for name, _, value in options)
    user = _USER.match(login)
    shown_login = (f"{user[1]}:***@" if user else "***@") if sign else ""
    return f"{shown_login}{parts['where']}{'?' if query else ''}{query}"


def _split(text: str, setting: str) -> tuple[SplitResult, str]:
    if not text.partition("://")[1] or text.partition("://")[0].lower() not in _SCHEMES:
        raise _wrong(setting, f"must begin with {', '.join(f'{scheme}://' for scheme in _SCHEMES)}")
    if "#" in text or any(letter.isspace() or not letter.isprintable() for letter in text):
        raise _wrong(
            setting, "holds a blank, a control character or '#': in a password, write it as %20, %23, …"
        )
    try:
        url = _several_hosts(text) or urlsplit(text)
    except ValueError:  # e.g. "Invalid IPv6 URL"
        raise _wrong(setting, "is no URL") from None
    if "@" in url.path or "@" in url.query:
        raise _wrong(setting, "has a '/' or '?' in its user or password: write %2F or %3F")
    return url, url.scheme


def _several_hosts(text: str) -> SplitResult | None:
    """Split an address of Sentinels; None for any other. Python from 3.13 on refuses several hosts as none."""
    found = re.fullmatch(rf"{_SENTINEL}://([^/?]*)([^?]*)(?:\?(.*))?", text, re.IGNORECASE | re.DOTALL)
    return SplitResult(_SENTINEL, found[1], found[2], found[3] or "", "") if found else None


def _sentinel(url: SplitResult, options: Mapping[str, str], setting: str) -> RedisUrl:
    """Read an address of Sentinels: several hosts, and a name before the database."""
    login, _, hosts = url.netloc.rpartition("@")
    username, _, password = login.partition(":")
    each = [urlsplit(f"//{host}") for host in hosts.split(",")]
    sentinels = tuple((_host(one, setting), _port(one, setting, SENTINEL_PORT_DEFAULT)) for one in each)
    name, _, database = unquote(url.path).strip("/").partition("/")
    if not all(hosts.split(",")) or not re.fullmatch(r"[\w.-]+", name, re.ASCII):
        raise _wrong(
            setting, "must name Sentinels and a primary, as in sentinel://host1:26379,host2:26379/main/0"
        )
    said = options.get("ssl", "false").lower()
    if said not in ("true", "false"):
        raise _wrong(setting, "ssl must be true or false")
    return RedisUrl(
        host=sentinels[0][0],
        port=sentinels[0][1],
        database=_database(database, options, setting),
        username=unquote(username) or None,
        password=unquote(password) or None,
        tls=_tls(options, setting) if said == "true" else None,
        sentinels=sentinels,
        master_name=name,
        sentinel_username=options.get("sentinel_username") or None,
        sentinel_password=options.get("sentinel_password") or None,
    )


def _host(url: SplitResult, setting: str) -> str:
    host = unquote(url.hostname or "") or "127.0.0.1"
    if not _HOST.fullmatch(host):
        raise _wrong(setting, "must name one host, as in redis://host:6379/0")
    return host


def _port(url: SplitResult, setting: str, default: int = PORT_DEFAULT) -> int:
    try:
        port = url.port
    except ValueError:
        port = 0
    if port == 0:
        raise _wrong(setting, "has no port from 1 to 65535, as in redis://host:6379/0")
    return port or default


def _options(url: SplitResult, scheme: str, setting: str) -> dict[str, str]:
    known = _OPTIONS[scheme]
    options = dict(parse_qsl(url.query, keep_blank_values=True))
    for name in options:
        if name not in known:
            shown = f"{name!r}" if re.fullmatch(r"[a-z_]{1,40}", name) else "one"
            raise _wrong(
                setting, f"has options that are not known: {shown}. {scheme}:// takes {', '.join(known)}"
            )
    return options


def _database(path: str, options: Mapping[str, str], setting: str) -> int:
    """Return the number of the database, from the path or an option; both may say it if they agree."""
    said = {path.strip("/"), *(options.get(name, "") for name in _DATABASE_OPTIONS)} - {""}
    if len(said) > 1:
        raise _wrong(setting, "names more than one database")
    number = said.pop() if said else "0"
    if not re.fullmatch(r"\d{1,5}", number, re.ASCII):
        raise _wrong(setting, "must name its database by a number, as in redis://host:6379/0")
    return int(number)


def _tls(options: Mapping[str, str], setting: str) -> Mapping[str, str | bool]:
    tls: dict[str, str | bool] = {"ssl_cert_reqs": "required"}
    for name in _TLS_FILES:
        if name in options:
            if not Path(options[name]).is_file():
                raise _wrong(setting, f"{name} names no file")
            tls[name] = options[name]
    if "ssl_cert_reqs" in options:
        tls["ssl_cert_reqs"] = options["ssl_cert_reqs"].lower().removeprefix("cert_")
        if tls["ssl_cert_reqs"] not in ("none", "optional", "required"):
            raise _wrong(setting, "ssl_cert_reqs must be none, optional or required")
    if "ssl_check_hostname" in options:
        said = options["ssl_check_hostname"].lower()
        if said not in ("true", "false"):
            raise _wrong(setting, "ssl_check_hostname must be true or false")
        tls["ssl_check_hostname"] = said == "true"
    return tls


def _wrong(setting: str, reason: str) -> InvalidRequestError:
    return InvalidRequestError.of(setting, reason)
