"""Passwords and secrets hidden in what is shown of addresses that are not Redis', and of texts that quote one."""

from __future__ import annotations

import re

_AT = re.compile(r"@|%40")
_LOGIN = re.compile(r"([^:@%]*)(?::|%3a).*(?:@|%40)", re.DOTALL | re.IGNORECASE)
_UNFINISHED = re.compile(r"\A(?!arn:)([^:/@\[]*):(?!\d{1,5}(?:/|\Z)).*", re.DOTALL)
_LOGIN_WITHIN = re.compile(r"[^\s\"']*(?::|%3a)[^\s\"']*(?:@|%40)", re.IGNORECASE)
_ENDPOINT = re.compile(r"(?:\A|(?<=&))endpoint_url=")


def masked_rest(scheme: str, rest: str) -> str:
    """Return what follows ``scheme://`` without its password and the secrets in its query, however wrong it is."""
    place, mark, query = rest.partition("?")
    if mark and _AT.search(query) and not _ENDPOINT.search(query):  # a password with a '?' in it
        place, mark, query = rest, "", ""
    shown = _without_login(place, is_folder=scheme == "file")
    return f"{shown}{mark}{_query_without_secrets(query)}"


def masked_within(text: str) -> str:
    """Return text of others, such as an error's, with every address in it without its password.

    Names with an ``@`` and no password, as those of accounts are, stay.
    """
    return _LOGIN_WITHIN.sub("***@", text)


def _without_login(place: str, *, is_folder: bool) -> str:
    """Show host and path, without what looks like a user and password; of a path to a folder all is shown."""
    if is_folder and place.startswith("/"):
        return place
    found = _LOGIN.match(place)
    if found is None:
        shown = _UNFINISHED.sub(r"\1:***", place)
        return re.sub(r"\A[^/]+@", "***@", shown)
    return f"{found[1]}:***@{place[found.end() :]}"


def _query_without_secrets(query: str) -> str:
    """Show options, without the values of those that are secret by name, and without the login of an address in one."""
    shown = re.sub(r"(?i)((?:\A|&)[^=&]*(?:password|secret|token|key)[^=&]*=)[^&]*", r"\1***", query)
    signs = [*_AT.finditer(shown)]
    if not signs:
        return shown
    last = signs[-1]  # a password may have any sign in it: all is hidden from where it can begin to there
    login, place = shown[: last.start()], shown[last.end() :]
    user = re.search(r"://[^:/?&@%\s]*(?=:)", login)
    option = _ENDPOINT.search(login)
    if user:
        return f"{login[: user.end()]}:***@{place}"
    return f"{login[: option.end()] if option else ''}***@{place}"
