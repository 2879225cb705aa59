"""The files of the page and the headers of every answer."""

from __future__ import annotations

from pathlib import Path

ROOT = "/dashboard"
STATE = f"{ROOT}/state.json"

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""No foreign resource, no inline script, no frame: a text that became HTML by mistake could do nothing."""

JSON = "application/json"
_KINDS = {"page.html": "text/html", "page.css": "text/css", "page.js": "text/javascript"}


def files() -> dict[str, tuple[str, bytes]]:
    """Content type and content by path; the page itself is at ``ROOT``, and ``/`` redirects there."""
    folder = Path(__file__).parent
    found = {f"{ROOT}/{name}": (kind, (folder / name).read_bytes()) for name, kind in _KINDS.items()}
    return found | {ROOT: found[f"{ROOT}/page.html"]}
