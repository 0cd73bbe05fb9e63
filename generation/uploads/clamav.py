"""ClamAV's daemon, asked over TCP what it finds in a file: its INSTREAM command (man clamd).

Where CLAMAV_URL is set, nothing gets in unseen: while the daemon is out of reach, nothing does.
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
LONGEST_ANSWER_BYTES = 4096


def check(content: bytes) -> None:
    """Raises InvalidFile for what it finds, UploadsUnavailable where it does not answer in time, or
    not with sense. Does nothing where no daemon is configured."""
    if (address := settings.CLAMAV_ADDRESS) is None:
        return
    try:
        answer = _ask(address, content, deadline=time.monotonic() + settings.CLAMAV_TIMEOUT_SECONDS)
    except OSError as error:
        logger.warning("virus_scanner_unavailable", error=type(error).__name__)
        raise UploadsUnavailable from error
    if answer == "stream: OK":
        return
    if answer.endswith(" FOUND"):
        logger.warning("virus_found", signature=answer[:200])
        raise InvalidFile(problem=_("a virus scanner objects"))
    logger.warning("virus_scanner_unavailable", error=answer[:200])
    raise UploadsUnavailable


def _ask(address: tuple[str, int], content: bytes, *, deadline: float) -> str:
    with socket.create_connection(address, _left(deadline)) as connection:
        connection.sendall(b"zINSTREAM\0")
        for start in range(0, len(content), CHUNK_BYTES):
            chunk = content[start : start + CHUNK_BYTES]
            connection.settimeout(_left(deadline))
            connection.sendall(len(chunk).to_bytes(4, "big") + chunk)
        connection.sendall(bytes(4))
        answer = b""
        while not answer.endswith(b"\0") and len(answer) < LONGEST_ANSWER_BYTES:
            connection.settimeout(_left(deadline))
            received = connection.recv(LONGEST_ANSWER_BYTES)
            if not received:
                break
            answer += received
    return answer.rstrip(b"\0").decode("utf-8", "replace")


def _left(deadline: float) -> float:
    """Seconds. Raises TimeoutError where there are none."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
