from collections.abc import Callable
from typing import Any

class Celery:
    conf: Any
    _conf: Any
    steps: dict[str, set[type[Any]]]
    backend: Any
    amqp: Any
    control: Any

    def __init__(
        self,
        main: str | None = ...,
        *,
        broker: str | None = ...,
        backend: str | None = ...,
        set_as_current: bool = ...,
        **options: Any,
    ) -> None: ...
    def task(self, fun: Callable[..., object], /, **options: Any) -> Any: ...
    def send_task(self, name: str, **options: Any) -> Any: ...
    def __enter__(self) -> Celery: ...
    def __exit__(self, *exc_info: object) -> None: ...
    def __getattr__(self, name: str) -> Any: ...
