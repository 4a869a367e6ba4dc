"""The steps of ownership and delivery inside Redis, in ``lua/`` (see ``memrepo.wire.keys`` for what they work on)."""

from __future__ import annotations

from memrepo.redis.script import Script, lua
from memrepo_worker.queues.scripts import OWNED

_CLOCK = lua(__package__, "clock")
_PUT_BACK = lua(__package__, "put_back")

BEAT = Script(_CLOCK + OWNED + lua(__package__, "beat"))
TAKE = Script(_CLOCK + OWNED + _PUT_BACK + lua(__package__, "take"))
RELEASE = Script(OWNED + _PUT_BACK + lua(__package__, "release"))
POP = Script(_CLOCK + OWNED + lua(__package__, "pop"))
MISSING = Script(OWNED + lua(__package__, "missing"))
ACKNOWLEDGE = Script(OWNED + lua(__package__, "acknowledge"))
