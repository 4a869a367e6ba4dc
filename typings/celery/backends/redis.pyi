from typing import Any

from redis import Redis

class RedisBackend:
    app: Any
    url: str
    expires: int | None
    client: Redis

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...
    def store_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: object = ...,
        request: Any = ...,
        **kwargs: object,
    ) -> Any: ...
    def _create_client(self, **params: Any) -> Redis: ...
    def get_key_for_task(self, task_id: str) -> bytes: ...
    def encode(self, data: object) -> str: ...
    def encode_result(self, result: object, state: str) -> Any: ...
    def _get_result_meta(
        self, result: object, state: str, traceback: None, request: object
    ) -> dict[str, Any]: ...
    def __getattr__(self, name: str) -> Any: ...
