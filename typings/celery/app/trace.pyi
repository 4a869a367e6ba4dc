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
def setup_worker_optimizations(app: Any, hostname: str | None = None) -> None: ...
def reset_worker_optimizations(app: Any) -> None: ...
def build_tracer(name: str, task: Any, loader: Any, hostname: str, *, app: Any) -> Any: ...
