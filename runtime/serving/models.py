"""The model names of a server: each bundle by its own name, and ``ratehold`` for all of them."""

from __future__ import annotations

from runtime.bundle import Bundle
from runtime.codec.packet import MAX_OVERHEAD, Packet
from runtime.errors import PacketBundleMismatch, ServingError, UnknownModel
from runtime.serving.protocol import ANY_BUNDLE, MAX_ID
from runtime.tail import max_payload
from runtime.tasks import Task


class Models:
    """Bundles by model name and by id. Raises ServingError for two bundles with one name.

    Attributes:
        bundles: each once, in the given order.
        max_packet: most bytes of a packet of any bundle.
    """

    def __init__(self, bundles: list[Bundle]):
        self.bundles = list({bundle.id: bundle for bundle in bundles}.values())
        self._served = {bundle.manifest.name: {bundle.id: bundle} for bundle in self.bundles}
        if len(self._served) < len(self.bundles) or ANY_BUNDLE in self._served:
            names = ", ".join(bundle.manifest.name for bundle in self.bundles)
            raise ServingError(f"bundles need names of their own, other than {ANY_BUNDLE!r}: {names}")
        self._served[ANY_BUNDLE] = {bundle.id: bundle for bundle in self.bundles}
        self._max_payload = {name: max(map(max_payload, of.values())) for name, of in self._served.items()}
        self.max_packet = self._max_payload[ANY_BUNDLE] + MAX_OVERHEAD

    def names(self) -> list[str]:
        """Every model name that a request may use."""
        return list(self._served)

    def tasks(self, name: str) -> list[Task]:
        """The task of each bundle of a model. Raises UnknownModel."""
        return [bundle.task for bundle in self._of(name).values()]

    def route(self, name: str, packet: bytes) -> Bundle:
        """The bundle that decodes a packet. Raises UnknownModel, or a PacketError for its header.

        The check costs a CRC-32 and no memory, so bytes that are no packet never take a worker's time.
        """
        served = self._of(name)
        wanted = Packet.from_bytes(packet, self._max_payload[name]).bundle_id
        if wanted not in served:
            there = ", ".join(f"{bundle.manifest.name} ({bundle.id.hex()})" for bundle in served.values())
            raise PacketBundleMismatch(f"packet of bundle {wanted.hex()}; model {name} decodes {there}")
        return served[wanted]

    def _of(self, name: str) -> dict[bytes, Bundle]:
        if name not in self._served:
            raise UnknownModel(f"no model {name[:MAX_ID]!r}; there are: {', '.join(self.names())}")
        return self._served[name]
