"""The steps of ownership inside Redis, in ``lua/`` (see ``memrepo.wire.keys`` for what they work on)."""

from __future__ import annotations

from memrepo.redis.script import Script, lua
from memrepo_worker.queues.scripts import AGENT_OF, CLOCK, ON_FULL, OWNED

_PUT_BACK = lua(__package__, "put_back")

BEAT = Script(ON_FULL + CLOCK + OWNED + lua(__package__, "beat"))
_RECOUNT = AGENT_OF + lua(__package__, "recount")
TAKE = Script(ON_FULL + CLOCK + OWNED + _PUT_BACK + _RECOUNT + lua(__package__, "take"))
RELEASE = Script(ON_FULL + OWNED + _PUT_BACK + lua(__package__, "release"))
WITHDRAW = Script(ON_FULL + CLOCK + lua(__package__, "withdraw"))
REJOIN = Script(ON_FULL + lua(__package__, "rejoin"))
