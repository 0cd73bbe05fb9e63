"""Look for secrets in the source, and for known vulnerabilities in installed packages.

Clean files are cached by their content, and lock files by day (.audit_cache), so that a second run
costs nothing. If the advisories are unavailable, a message says so, and the check passes.
"""
# ruff: noqa: T201 - to print is what it is for

from __future__ import annotations

import datetime
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

CACHE = Path(".audit_cache")
BIN = Path(".venv/bin")
LOCK = Path("requirements.txt")
# Hashes and translations look like secrets; tests are full of texts that look like passwords.
UNREAD = (
    *(".mo", ".po", *(f"requirements{kind}.txt" for kind in ("", "-uv", "-local", "-dev"))),
    "tests/common/test_redaction.py",  # of what secrets look like
)
# Lines that look like secrets, and the reason why they are none.
HARMLESS = [
    r"user:pass(word)?@",  # an example of an address
    r"rendio:rendio@",  # the embedded database's, on loopback
    r"SANDBOX_WEBHOOK_SECRET =",  # which production refuses
    r"APPLE_ROOT_SHA256 =",  # a digest, as are these two
    r"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    r"1cb9823ba28ba6ad2d33a006941de2ae4f513ef1d4e831b9f7e0fa7b6242c932",
    r"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef",  # an alphabet
    r"BEGIN PRIVATE KE[Y]-----\"",  # without the key
]
SCAN = [
    BIN / "detect-secrets-hook", "--no-verify", "--disable-plugin", "KeywordDetector",
    *(part for line in HARMLESS for part in ("--exclude-lines", line)),
]  # fmt: skip
AUDIT = [
    BIN / "pip-audit", "--requirement", LOCK, "--require-hashes", "--disable-pip", "--format=json",
    "--progress-spinner=off", "--timeout=5",
]  # fmt: skip


def main() -> int:
    known = set(CACHE.read_text().split()) if CACHE.exists() else set()
    clean = [look(known) for look in (no_secrets, no_advisories)]
    CACHE.write_text("\n".join(sorted(known)))
    return 0 if all(clean) else 1


def no_secrets(known: set[str]) -> bool:
    listed = _run(["git", "ls-files"])
    if listed.returncode:
        print("skipped secrets: this is no checkout")
        return True
    files = [name for name in listed.stdout.splitlines() if not name.endswith(UNREAD)]
    contents = {name: _digest(Path(name).read_bytes()) for name in files if Path(name).is_file()}
    unknown = [name for name, digest in contents.items() if digest not in known]
    found = _run([*SCAN, *unknown]) if unknown else None
    if found and found.returncode:
        print(found.stdout, found.stderr)
        return False
    known.update(contents.values())
    return True


def no_advisories(known: set[str]) -> bool:
    today = f"{datetime.date.today()}-{_digest(LOCK.read_bytes())}"  # noqa: DTZ011
    if today in known:
        return True
    if f"{today}-unknown" not in known:
        advisories = _advisories()
        holes = [one for one in advisories if one.get("vulns")]
        for one in holes:
            print(f"{one['name']} {one['version']}: {[hole['id'] for hole in one['vulns']]}")
        if holes:
            return False
        is_whole = advisories and not any("skip_reason" in one for one in advisories)
        known.add(today if is_whole else f"{today}-unknown")
    if today not in known:
        print("skipped: the advisories, or some of them, are unavailable today")
    return True


def _advisories() -> list[dict[str, Any]]:
    """The advisories about each locked package; nothing if the service does not answer."""
    try:
        advisories: list[dict[str, Any]] = json.loads(_run(AUDIT, timeout_seconds=120).stdout)[
            "dependencies"
        ]
    except (ValueError, KeyError, subprocess.TimeoutExpired):
        return []
    return advisories


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _run(
    command: list[str | Path], *, timeout_seconds: float | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603
        command, capture_output=True, text=True, check=False, timeout=timeout_seconds
    )


sys.exit(main())
