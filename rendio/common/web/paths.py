"""Which part of the site a path belongs to. `rendio.urls` has the routes."""

from __future__ import annotations

# The phone's API, and the same for older builds.
API = ("/v1/", "/functions/v1/")
_STAFF_CALLS = tuple(f"{prefix}admin-" for prefix in API)
_CALLS = (*API, "/webhooks/", "/media/")


def is_call(path: str) -> bool:
    """Whether the path is called by programs: without cookies, forms, messages or static files.

    Staff's JSON calls are none: they have the session of the admin.
    """
    return path.startswith(_CALLS) and not path.startswith(_STAFF_CALLS)
