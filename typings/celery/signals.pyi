from collections.abc import Callable
from typing import Any, TypeVar, overload

_Receiver = TypeVar("_Receiver", bound=Callable[..., Any])

class Signal:
    receivers: list[Any]
    @overload
    def connect(self, receiver: _Receiver, /, **options: Any) -> _Receiver: ...
    @overload
    def connect(self, /, **options: Any) -> Callable[[_Receiver], _Receiver]: ...
    def disconnect(self, receiver: Callable[..., Any] | None = ..., **options: Any) -> None: ...
    def send(self, sender: Any, **named: Any) -> Any: ...

celeryd_init: Signal
task_revoked: Signal
worker_ready: Signal
worker_shutting_down: Signal

def __getattr__(name: str) -> Signal: ...
