"""Files of a customer that a provider downloads."""

import urllib.request

TIMEOUT_SECONDS = 10
MAX_BYTES = 100_000_000
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class UnusableSource(Exception):
    """A file cannot be downloaded or used, or does not fit to the others."""


def fetch_bytes(url: str) -> bytes:
    """Download a file. Raises UnusableSource."""
    if not url.startswith(("http://", "https://")):
        raise UnusableSource("not a URL")
    try:
        with _opener.open(url, timeout=TIMEOUT_SECONDS) as response:
            content: bytes = response.read(MAX_BYTES)
    except (OSError, ValueError) as error:
        raise UnusableSource(str(error)) from error
    return content
