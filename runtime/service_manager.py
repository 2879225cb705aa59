"""What a service manager is told, by systemd's protocol: ready, alive, about to stop.

A datagram goes to the socket that ``$NOTIFY_SOCKET`` names; where there is none, nobody is told.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress

READY, ALIVE, STOPPING = "READY=1", "WATCHDOG=1", "STOPPING=1"


class ServiceManager:
    """The manager that started this process, if any.

    period: seconds between two signs of life, half of what it waits for; None: it waits for none.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ):
        path = environment.get("NOTIFY_SOCKET", "")
        self._address = f"\0{path[1:]}" if path.startswith("@") else path
        self.period = _period(environment) if path else None

    def tell(self, state: str) -> None:
        """Send one state. A manager that cannot be reached costs nothing but its knowledge."""
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.setblocking(False)
            channel.sendto(state.encode(), self._address)


def _period(environment: Mapping[str, str]) -> float | None:
    """Half of ``$WATCHDOG_USEC``, unless ``$WATCHDOG_PID`` says that it is another process's."""
    microseconds = environment.get("WATCHDOG_USEC", "")
    meant = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(microseconds) / 2e6 if meant and microseconds.isdigit() and int(microseconds) else None
