"""Secrets by label: from the environment, and from a file that is read again when it changes.

Replacing the file (as a mounted secret does) rotates keys without a restart. If the file becomes
unreadable or malformed, the last good content stays.
"""

from __future__ import annotations

import re
from pathlib import Path

import structlog

logger = structlog.get_logger(__name__)

DEFAULT_LABEL = "default"
_LABEL = re.compile(r"[a-z0-9][a-z0-9_-]{0,29}")


class MalformedSecrets(ValueError):
    """Not label:secret pairs. The message quotes nothing: the text may be a secret."""


def parse(text: str) -> dict[str, str]:
    """`label:secret` pairs, separated by commas or lines, in order. A secret may contain colons.

    Raises MalformedSecrets.
    """
    found: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in re.split(r"[,\n]", text))):
        label, _, secret = pair.partition(":")
        if not (_LABEL.fullmatch(label) and secret and secret.isascii() and secret.isprintable()):
            raise MalformedSecrets("must be label:secret pairs, each label of a-z, 0-9, - and _.")
        if label in found:
            raise MalformedSecrets(f"has the label {label} twice.")
        found[label] = secret
    return found


class KeyRing:
    """Secrets in order; the file's value wins for a label in both."""

    def __init__(self, secrets: dict[str, str], *, file: Path | None = None) -> None:
        """Raises OSError or MalformedSecrets if the file is unusable at start."""
        self._fixed = secrets
        self._file = file
        self._read_as: tuple[int, int] | None = None
        self._from_file: dict[str, str] = {}
        if file:
            self._read(file)

    def __bool__(self) -> bool:
        return bool(self._secrets())

    def labels(self) -> list[str]:
        return list(self._secrets())

    def secret(self, label: str) -> str:
        """The secret of that label, else the first one, else "".

        The fallback is for submissions that were made under a label that was removed: the first key
        may belong to the same account, and if not, nothing is lost.
        """
        secrets = self._secrets()
        return secrets.get(label) or next(iter(secrets.values()), "")

    def _secrets(self) -> dict[str, str]:
        if self._file:
            try:
                self._read(self._file)
            except (OSError, ValueError) as error:
                logger.warning("keys_file_unusable", error=type(error).__name__)
        return self._fixed | self._from_file

    def _read(self, file: Path) -> None:
        stat = file.stat()
        version = (stat.st_mtime_ns, stat.st_ino)
        if version != self._read_as:
            self._from_file = parse(file.read_text())
            self._read_as = version
