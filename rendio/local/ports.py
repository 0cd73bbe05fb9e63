"""Reserve free loopback ports.

A free port stays free on the network until its server listens, seconds later. Meanwhile a lock file
reserves it against other runs on this machine; the lock ends with the process that holds it.
"""

import errno
import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

# Below the ranges from which Linux (32768) and macOS (49152) take the ports of outgoing
# connections: one of those could otherwise sit on ours at the moment of a restart.
CANDIDATES = range(20000, 32000)

_reserved: dict[int, int] = {}


class NoFreePort(Exception):
    pass


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do, so that connections which have just ended do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen()
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True


def is_reserved(port: int) -> bool:
    """Whether this process has reserved the port."""
    return port in _reserved


def reserve(port: int) -> bool:
    """Reserve the port for this process until it ends; False if it is taken."""
    if port in _reserved:
        return is_free(port)
    folder = Path(tempfile.gettempdir()) / f"rendio-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    lock = os.open(folder / str(port), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return False
    if not is_free(port):
        os.close(lock)
        return False
    _reserved[port] = lock
    return True


def reserve_any() -> int:
    for port in random.sample(CANDIDATES, 200):
        if port not in _reserved and reserve(port):
            return port
    raise NoFreePort("No free port found between 20000 and 32000 on 127.0.0.1.")


def reserve_from(port: int) -> int:
    """Reserve this port or the next free one."""
    for candidate in range(port, min(port + 200, 65536)):
        if candidate not in _reserved and reserve(candidate):
            return candidate
    raise NoFreePort(f"No free port found from {port} on 127.0.0.1.")
