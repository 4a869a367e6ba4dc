"""The users of docs/acl.conf, and which rights their rules give."""

from __future__ import annotations

import re

from memrepo.redis.rights import Right
from tests.support.documents import ROOT

ACL = ROOT / "docs" / "acl.conf"
PRODUCER, WORKER = "memrepo-producer", "memrepo-worker"

_ON_NOTHING = "auth hello select ping time info multi exec client|tracking script|load script|exists"
_ON_CHANNELS = "publish subscribe unsubscribe psubscribe punsubscribe"


def documented(user: str) -> list[tuple[set[str], set[str]]]:
    """Return the commands, and the keys and channels, of each part of a user's rule in the page."""
    [line] = [line for line in ACL.read_text().splitlines() if line.startswith(f"user {user} ")]
    parts = [re.sub(r"\([^)]*\)", "", line), *re.findall(r"\(([^)]*)\)", line)]
    return [
        (
            {word[1:] for word in part.split() if word.startswith("+")},
            {word.replace("%R~", "~") for word in part.split() if word[0] in "~&%"},
        )
        for part in parts
    ]


def documented_rights(user: str) -> set[Right]:
    """Return each command of a user's with each place that it is given on."""
    return {
        Right(command, place)
        for commands, places in documented(user)
        for command in commands
        for place in _places_of(command, places)
    }


def _places_of(command: str, places: set[str]) -> set[str]:
    """Return on which of these a command is of use."""
    if command in _ON_NOTHING.split():
        return {""}
    kind = "&" if command in _ON_CHANNELS.split() else "~"
    return {place for place in places if place[0] == kind} or {""}
