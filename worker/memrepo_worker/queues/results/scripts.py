"""The steps of results inside Redis: the worker's part of a record's states, which ``memrepo.wire.cancellation`` lists.

A record's key holds Celery's JSON form of one task's state.
"""

from __future__ import annotations

from memrepo.redis.script import Script, lua
from memrepo.wire.cancellation import STATUS_OF
from memrepo.wire.payload_store import put_script
from memrepo_worker.queues.scripts import ON_FULL, OWNED, SETTLE

_STORE = STATUS_OF + lua(__package__, "store")

STORE_RESULTS = Script(ON_FULL + _STORE + lua(__package__, "store_results"))
FINISH = Script(ON_FULL + OWNED + SETTLE + _STORE + lua(__package__, "finish"))
STORE_PROGRESS = Script(ON_FULL + STATUS_OF + lua(__package__, "store_progress"))
_FAIL = STATUS_OF + lua(__package__, "fail")
FAIL_ALL = Script(ON_FULL + _FAIL + lua(__package__, "fail_all"))
REFUSE = Script(ON_FULL + OWNED + SETTLE + _FAIL + lua(__package__, "refuse"))
TAKE_BACK = Script(lua(__package__, "take_back"))
PUT_UNTOLD = put_script(OWNED + STATUS_OF + lua(__package__, "while_untold"))
