"""The folder of one local installation: RENDIO_HOME, by default `.rendio`.

One process at a time owns it; the lock ends with that process, however it ends.
"""

import base64
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from rendio.local.child_process import stop_leftovers

PROJECT = Path(__file__).resolve().parents[2]


class DataDirInUse(Exception):
    """Another process owns the folder; the message describes that process."""


class NotRunning(Exception):
    """No process owns the folder."""


class DataDir:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.logs = root / "logs"
        self.media = root / "media"
        self.pids = root / "pids"
        self.sandbox_keys = root / "sandbox-keys"
        self.secrets_file = root / "secrets.env"
        self._environment_file = root / "environment.json"
        self._lock_file = root / "lock"
        self._lock: int | None = None

    @classmethod
    def from_environment(cls) -> "DataDir":
        return cls(Path(os.environ.get("RENDIO_HOME") or PROJECT / ".rendio").resolve())

    def acquire(self) -> None:
        """Own the folder until `release` or the end of this process. Raises DataDirInUse."""
        for folder in (self.root, self.logs, self.media, self.pids):
            # Logs and media hold personal data: readable by this user only.
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self._lock_file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise DataDirInUse(self._lock_file.read_text(errors="replace").strip()) from None
        self._lock = lock
        self._environment_file.unlink(missing_ok=True)  # of the previous owner
        self.describe_owner(f"pid {os.getpid()}")
        # Processes that still run here lost their owner: there is one owner at a time.
        stop_leftovers(self.pids)

    def describe_owner(self, text: str) -> None:
        """The text that a second start shows."""
        self._lock_file.write_text(text + "\n")

    def show_environment(self, values: Mapping[str, str]) -> None:
        """Store the environment that our processes see beyond the caller's, for commands beside
        them."""
        _write_private(self._environment_file, json.dumps(values))

    def environment_of_owner(self) -> dict[str, str]:
        """The environment that the running owner stored. Raises NotRunning."""
        try:
            with self._lock_file.open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            raise NotRunning from None
        except BlockingIOError:
            pass
        else:
            raise NotRunning
        try:
            shown: dict[str, str] = json.loads(self._environment_file.read_text())
        except (FileNotFoundError, ValueError):
            raise NotRunning from None  # it has only just begun, or the file is broken
        return shown

    def release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def fresh_metrics(self) -> Path:
        """An empty folder for the counts of this run's processes."""
        folder = self.root / "metrics"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        return folder

    def sandbox_authority(self) -> dict[str, str]:
        """The paths of the sandbox's App Store keys and of its root certificate, which we trust.

        The sandbox writes the file at its first start.
        """
        return {
            "SANDBOX_KEYS_FOLDER": str(self.sandbox_keys),
            "APPSTORE_ROOT_CERTIFICATE": str(self.sandbox_keys / "apple-root.cer"),
        }

    def secrets(self) -> dict[str, str]:
        """Read the generated secrets; generate missing ones, once."""
        known: dict[str, str] = {}
        if self.secrets_file.exists():
            for line in self.secrets_file.read_text().splitlines():
                name, equals, value = line.partition("=")
                if equals and not line.startswith("#"):
                    known[name.strip()] = value.strip()
        missing = [name for name in GENERATED if not known.get(name)]
        if missing:
            known |= {name: GENERATED[name]() for name in missing}
            self._write_secrets(known)
        return known

    def _write_secrets(self, values: dict[str, str]) -> None:
        lines = ["# Generated for this machine. Anything set in the environment wins."]
        lines += [f"{name}={value}" for name, value in values.items()]
        _write_private(self.secrets_file, "\n".join(lines) + "\n")


def _write_private(file: Path, text: str) -> None:
    """Write atomically, readable by our user only."""
    unfinished = file.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as opened:
        opened.write(text)
    unfinished.replace(file)


def _random() -> str:
    # Hexadecimal: no shell or env file interprets it.
    return secrets.token_hex(32)


def _readable() -> str:
    """A password that a person can type from the terminal."""
    return "-".join(secrets.token_hex(2) for _ in range(5))


def _p256_key() -> str:
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return base64.b64encode(pem).decode()


GENERATED: dict[str, Callable[[], str]] = {
    "SECRET_KEY": _random,
    "SESSION_SIGNING_KEYS": lambda: f"local-{secrets.token_hex(4)}:{_random()}",
    "INSTALLATION_KEYS": lambda: f"local-{secrets.token_hex(4)}:{_random()}",
    "DEVICECHECK_PRIVATE_KEY": _p256_key,
    "SIGN_IN_PRIVATE_KEY": _p256_key,
    "APPLE_TOKEN_KEYS": _random,
    "APPSTORE_PRIVATE_KEY": _p256_key,
    "APNS_PRIVATE_KEY": _p256_key,
    "STAFF_USERNAME": lambda: "staff",
    "STAFF_PASSWORD": _readable,
    "FLOWER_PASSWORD": _readable,
    "POSTGRES_PASSWORD": _random,
}
