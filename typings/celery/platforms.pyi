from collections.abc import Callable
from types import FrameType

class Signals:
    def __setitem__(self, name: str, handler: Callable[[int, FrameType | None], None], /) -> None: ...

signals: Signals
