from typing import Any

def fast_trace_task(
    task: str,
    uuid: str,
    request: dict[str, Any],
    body: tuple[tuple[Any, ...], dict[str, Any], dict[str, None]],
    content_type: str | None,
    content_encoding: str | None,
    **options: Any,
) -> Any: ...
