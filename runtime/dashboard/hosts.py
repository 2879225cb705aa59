"""Who may ask a listener on loopback: names of this machine, and pages that come from it.

A browser opens any page, and a foreign page could point its own name at 127.0.0.1, or send a form there. The
browser then names the foreign host in ``Host`` or ``Origin``. gRPC hands no ``:authority`` to its server, so
there ``Origin`` alone decides; a browser sends it with every POST.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def from_this_machine(host: str | None, origin: str | None) -> bool:
    """Whether the headers ``Host`` and ``Origin`` of a request name this machine; no ``Origin`` is fine."""
    return _is_local(f"//{host or ''}") and page_from_this_machine(origin)


def page_from_this_machine(origin: str | None) -> bool:
    """Whether a request comes from no page (None), or from one of this machine."""
    return origin is None or _is_local(origin)


def _is_local(url: str) -> bool:
    try:
        name = urlsplit(url).hostname or ""
        if name == "localhost" or name.endswith(".localhost"):
            return True
        return ipaddress.ip_address(name.split("%")[0]).is_loopback
    except ValueError:
        return False
