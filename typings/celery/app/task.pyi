from typing import Any

class Context:
    reply_to: str | None
    task: str | None

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...
    def __getattr__(self, name: str) -> Any: ...
