from collections.abc import Callable, Sequence
from typing import Any, TypeVar

_Command = TypeVar("_Command", bound=Callable[..., Any])

def control_command(
    *,
    args: Sequence[tuple[str, type]] = ...,
    signature: str = ...,
    variadic: str = ...,
) -> Callable[[_Command], _Command]: ...
def inspect_command() -> Callable[[_Command], _Command]: ...
