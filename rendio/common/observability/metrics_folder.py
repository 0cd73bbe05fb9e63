"""The folder in which the processes of one server keep their counts.

The client library looks for the folder when it is imported, so a main process makes it before that,
for the children that it forks.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from pathlib import Path

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_PREFIX = "rendio-metrics-"


def make() -> None:
    """Make a fresh folder unless the environment names one.

    If none can be made, each process counts alone, and /metrics reports the one that answers.
    """
    if os.environ.get(FOLDER):
        return
    try:
        os.environ[FOLDER] = tempfile.mkdtemp(prefix=_PREFIX)
    except OSError as error:
        os.environ.pop(FOLDER, None)
        logging.getLogger(__name__).warning("No folder for metrics: %s", error)


def remove() -> None:
    """Remove the folder that `make` made."""
    folder = Path(os.environ.get(FOLDER, ""))
    if folder.name.startswith(_PREFIX):
        shutil.rmtree(folder, ignore_errors=True)
