"""Virus scan by ClamAV's daemon over TCP, with its INSTREAM command (man clamd).

If CLAMAV_URL is set, every upload is scanned. While the daemon is unavailable, uploads are refused.
"""

from __future__ import annotations

import socket
import time

import structlog
from django.conf import settings
from django.utils.translation import gettext as _

from generation.errors import InvalidFile, UploadsUnavailable

logger = structlog.get_logger(__name__)

CHUNK_BYTES = 64 * 1024
MAX_RESPONSE_BYTES = 4096


def scan(content: bytes) -> None:
    """Scan a file. Does nothing if no daemon is configured.

    Raises InvalidFile for a match; UploadsUnavailable for a timeout or an unexpected response.
    """
    if (address := settings.CLAMAV_ADDRESS) is None:
        return
    try:
        response = _send_instream(
            address, content, deadline=time.monotonic() + settings.CLAMAV_TIMEOUT_SECONDS
        )
    except OSError as error:
        logger.warning("virus_scanner_unavailable", error=type(error).__name__)
        raise UploadsUnavailable from error
    if response == "stream: OK":
        return
    if response.endswith(" FOUND"):
        logger.warning("virus_found", signature=response[:200])
        raise InvalidFile(problem=_("rejected by the virus scanner"))
    logger.warning("virus_scanner_unavailable", error=response[:200])
    raise UploadsUnavailable


def _send_instream(address: tuple[str, int], content: bytes, *, deadline: float) -> str:
    with socket.create_connection(address, _remaining_seconds(deadline)) as connection:
        connection.sendall(b"zINSTREAM\0")
        for start in range(0, len(content), CHUNK_BYTES):
            chunk = content[start : start + CHUNK_BYTES]
            connection.settimeout(_remaining_seconds(deadline))
            connection.sendall(len(chunk).to_bytes(4, "big") + chunk)
        connection.sendall(bytes(4))
        response = b""
        while not response.endswith(b"\0") and len(response) < MAX_RESPONSE_BYTES:
            connection.settimeout(_remaining_seconds(deadline))
            received = connection.recv(MAX_RESPONSE_BYTES)
            if not received:
                break
            response += received
    return response.rstrip(b"\0").decode("utf-8", "replace")


def _remaining_seconds(deadline: float) -> float:
    """Return the seconds until the deadline. Raises TimeoutError after the deadline."""
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise TimeoutError
    return remaining
