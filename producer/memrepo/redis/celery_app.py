"""The Celery app that memrepo uses in every process: as its caller makes it, whatever the host has set for its own.

Celery reads variables of the environment over what an app is told (``CELERY_BROKER_URL`` and three more, which ``celery
-b`` sets, too), loads the module that ``CELERY_CONFIG_MODULE`` names by the loader of ``CELERY_LOADER``, and changes
every app where ``DJANGO_SETTINGS_MODULE`` is set. All of that is meant for the host's app: with it, a request would go
to the host's broker.
"""

from __future__ import annotations

from typing import Any

from celery import Celery
from celery.app.utils import Settings, filter_hidden_settings
from celery.loaders.base import BaseLoader
from typing_extensions import override

from memrepo.redis.address import RedisUrl, masked
from memrepo.redis.transport import TRANSPORT, url_for

_ADDRESSES = ("broker_url", "broker_read_url", "broker_write_url")


class _Loader(BaseLoader):
    """Reads no configuration."""

    @override
    def read_configuration(self, env: str = "") -> None:
        return None


class _Configuration(Settings):
    """What an app was told, without the environment."""

    @property
    def broker_url(self) -> object:
        return self.first("broker_url", "broker_host")

    @property
    def broker_read_url(self) -> object:
        return self.get("broker_read_url") or self.broker_url

    @property
    def broker_write_url(self) -> object:
        return self.get("broker_write_url") or self.broker_url

    @property
    def result_backend(self) -> object:
        return self.get("result_backend")

    @override
    def table(self, with_defaults: bool = False, censored: bool = True) -> dict[str, object]:
        """Return what is set, by name, without secrets where it is ``censored``.

        Celery itself masks a broker's address by way of a connection that it never makes: kombu would log of that one
        that its TLS is insecure.
        """
        whole = super().table(with_defaults, censored=False)
        if not censored:
            return whole
        addresses = {name: whole.pop(name) for name in _ADDRESSES if name in whole}
        shown = {name: address and masked(str(address)) for name, address in addresses.items()}
        return {**filter_hidden_settings(whole), **shown}


class OwnCelery(Celery):
    """A Celery app that is never the current one of its process, and knows only what it is told in code.

    ``broker_address`` and ``results_address`` are what its URLs are forms of.
    """

    def __init__(self, broker: RedisUrl, results: RedisUrl, **options: Any) -> None:
        self.broker_address, self.results_address = broker, results
        super().__init__("memrepo", loader=_Loader, fixups=(), set_as_current=False, **options)
        own = _Configuration({})
        own.swap_with(self._conf)  # Celery fills this object when it is first asked
        self._conf = own

    def connect_as_client(self, **transport_options: Any) -> None:
        """Have it reach its broker by connections that lead to where the address leads; it consumes no shard."""
        address = self.broker_address
        self.conf.update(
            broker_url=url_for(TRANSPORT, address),
            broker_transport=TRANSPORT,
            broker_use_ssl=dict(address.tls) if address.tls else None,
            broker_transport_options={**transport_options, "address": address},
        )


def deafen_default(broker: RedisUrl, results: RedisUrl) -> None:
    """Have the default app of a process that is all ours know no backend, and nothing of what a host has set.

    Flower aborts tasks by it, whichever app it shows: where a host has a Celery of its own, at the host's.
    """
    OwnCelery(broker, results, backend="disabled://").set_default()
