from collections.abc import Callable
from typing import Any, TypeVar

_Receiver = TypeVar("_Receiver", bound=Callable[..., Any])

class Signal:
    def connect(self, receiver: _Receiver, **options: Any) -> _Receiver: ...
    def disconnect(self, receiver: Callable[..., Any] | None = ..., **options: Any) -> None: ...
    def send(self, sender: Any, **named: Any) -> Any: ...

celeryd_init: Signal
task_revoked: Signal
worker_ready: Signal
worker_shutting_down: Signal

def __getattr__(name: str) -> Signal: ...
