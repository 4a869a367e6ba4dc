from collections.abc import Callable, Sequence
from typing import Any, TypeVar

_Command = TypeVar("_Command", bound=Callable[..., Any])

def control_command(
    *,
    name: str = ...,
    help: str = ...,
    args: Sequence[tuple[str, type]] = ...,
    signature: str = ...,
    variadic: str = ...,
) -> Callable[[_Command], _Command]: ...
def inspect_command() -> Callable[[_Command], _Command]: ...

class Panel:
    data: dict[str, Callable[..., Any]]
