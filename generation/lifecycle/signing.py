"""Our Content Credentials (C2PA) on files that are about to be stored."""

from __future__ import annotations

from pathlib import Path

import structlog
from django.conf import settings

from generation.video_files import process
from generation.video_files.media_info import SourceType, UnusableFile
from generation.video_files.process import ProcessFailed
from rendio.common.observability import metrics

logger = structlog.get_logger(__name__)


def sign_files(
    folder: Path,
    names: list[str],
    *,
    original: Path,
    source_type: SourceType,
) -> None:
    """Sign these files of `folder`, if a certificate is configured. `original` is the provider's.

    A failure delays no delivery: the files have the AI mark without it. It is counted and logged.
    """
    if settings.C2PA_SIGNER is None:
        return
    try:
        process.sign(original, folder, names, source_type=source_type, signer=settings.C2PA_SIGNER)
        outcome = "signed"
    except (UnusableFile, ProcessFailed) as error:
        logger.warning("content_credentials_failed", problem=str(error))
        outcome = "failed"
    metrics.content_credentials.labels(outcome).inc()
