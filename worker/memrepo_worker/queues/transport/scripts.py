"""The steps of delivery inside Redis, in ``lua/`` (see ``memrepo.wire.keys`` for what they work on)."""

from __future__ import annotations

from memrepo.redis.script import Script, lua
from memrepo_worker.queues.scripts import CLOCK, ON_FULL, OWNED, SETTLE

POP = Script(ON_FULL + CLOCK + OWNED + lua(__package__, "pop"))
MISSING = Script(OWNED + lua(__package__, "missing"))
ACKNOWLEDGE = Script(OWNED + SETTLE + lua(__package__, "acknowledge"))
