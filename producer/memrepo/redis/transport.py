"""kombu's transport on Redis, whose connections lead to where our address leads: also to the primary of Sentinels.

It takes the address as the transport option ``address``; what the URL says that kombu is given is a form of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as kombu_redis
from redis import Redis
from redis.client import Pipeline
from typing_extensions import override

from memrepo.redis.address import RedisUrl
from memrepo.redis.reconnecting import led_to_primary

TRANSPORT = "memrepo-client"
"""The name under which kombu knows the transport, in this process alone."""


class PlainClient(Redis):
    """A client that sends kombu's pipelines without MULTI.

    Kombu asks in them how long a queue is, or removes one, and means no transaction: for that it calls ``transaction``.
    A Redis 7.0 whose memory is full refuses whatever stands between MULTI and EXEC, also what only reads, so that no
    worker could begin there.
    """

    @override
    def pipeline(self, transaction: bool = False, shard_hint: str | None = None) -> Pipeline:
        """Return a pipeline; without MULTI unless that is asked for."""
        return super().pipeline(transaction, shard_hint)


class AddressedChannel(kombu_redis.Channel):
    """A channel whose connections lead to an address of ours."""

    address: RedisUrl
    from_transport_options: tuple[str, ...] = (*kombu_redis.Channel.from_transport_options, "address")  # type: ignore[assignment]  # kombu's stubs fix its length

    @override
    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        connparams: Callable[[bool], dict[str, Any]] = super()._connparams
        parameters = connparams(asynchronous)
        return led_to_primary(parameters, self.address)

    @override
    def _get_client(self) -> type[Redis]:
        check: Callable[[], object] = super()._get_client
        check()  # kombu refuses a redis-py that it cannot work with
        return PlainClient


class AddressedTransport(kombu_redis.Transport):
    """kombu's transport with our channel."""

    Channel = AddressedChannel


TRANSPORT_ALIASES[TRANSPORT] = f"{__name__}:{AddressedTransport.__name__}"


def url_for(transport: str, address: RedisUrl) -> str:
    """Return the URL that has kombu connect to an address by a transport of ours."""
    # For a Unix socket the transport is named by the URL itself.
    return transport + address.for_celery.removeprefix("redis") if address.path else address.for_celery
