"""Starting the decoding process and reading its output.

A file cannot crash, fill or block the caller's process, which waits for a few hundred bytes with a
timeout.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from django.conf import settings

from generation.video_files.credentials import CERTIFICATES, PRIVATE_KEY
from generation.video_files.media_info import MediaInfo, SourceType, UnusableFile
from rendio.common.signing_identity import SigningIdentity

PROBE_TIMEOUT_SECONDS, SIGN_TIMEOUT_SECONDS = 60, 60
# Time beyond the process's own limit.
GRACE_SECONDS = 5
CONVERTED_NAME = "converted.mp4"
ENVIRONMENT = {"LANG": "C.UTF-8"}


class ProcessFailed(Exception):
    """The process was killed or ran out of time. The file itself may be fine."""


def probe(
    path: Path,
    folder: Path,
    *,
    kind: str,
    frame_count: int = 0,
    source_type: SourceType = SourceType.GENERATED,
) -> MediaInfo:
    """Probe the file at `path` and write JPEGs into `folder`. `kind` is "video" or "image".

    Raises UnusableFile, ProcessFailed.
    """
    output = _run(
        "probe",
        path,
        folder,
        "--kind",
        kind,
        "--frames",
        str(frame_count),
        "--source-type",
        source_type.value,
        seconds=PROBE_TIMEOUT_SECONDS,
    )
    return MediaInfo.from_json(output["report"])


def convert(path: Path, folder: Path) -> Path:
    """Convert the video at `path` to one that iPhones play, in `folder`.

    Raises UnusableFile, ProcessFailed.
    """
    _run("convert", path, folder, seconds=settings.FILM_CONVERT_SECONDS)
    return folder / CONVERTED_NAME


def sign(
    original: Path,
    folder: Path,
    names: Sequence[str],
    *,
    source_type: SourceType,
    signer: SigningIdentity,
) -> None:
    """Replace the files of these names in `folder` by ones with our Content Credentials.

    `original` is the provider's file. The process gets our private key, and runs no decoder.
    Raises UnusableFile, ProcessFailed; the files are then as they were.
    """
    _run(
        "sign",
        original,
        folder,
        "--names",
        *names,
        "--source-type",
        source_type.value,
        "--algorithm",
        signer.algorithm,
        seconds=SIGN_TIMEOUT_SECONDS,
        secrets={CERTIFICATES: signer.certificates, PRIVATE_KEY: signer.private_key},
    )


def _run(
    command_name: str,
    path: Path,
    folder: Path,
    *more: str,
    seconds: int,
    secrets: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    command = [
        "-m", "generation.video_files", command_name, str(path), str(folder), *more,
        "--seconds", str(seconds),
        "--memory-bytes", str(settings.FILM_MEMORY_MB * 1024 * 1024),
        "--file-bytes", str(settings.MAX_VIDEO_BYTES),
    ]  # fmt: skip
    try:
        completed = launch(
            command,
            timeout_seconds=seconds + GRACE_SECONDS,
            environment={**ENVIRONMENT, **(secrets or {})},
        )
    except subprocess.TimeoutExpired:
        raise ProcessFailed("took too long") from None
    try:
        output = json.loads(completed.stdout)
    except ValueError:
        raise ProcessFailed(f"ended with {completed.returncode}") from None
    if "unusable" in output:
        raise UnusableFile(output["unusable"])
    return dict(output)


def launch(
    arguments: Sequence[str], *, timeout_seconds: float, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[bytes] | subprocess.CompletedProcess[str]:
    """Run `python *arguments` in this environment. Ours has secrets.

    Raises subprocess.TimeoutExpired.
    """
    return subprocess.run(  # noqa: S603
        [sys.executable, *arguments],
        cwd=settings.BASE_DIR,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=timeout_seconds,
        check=False,
    )
