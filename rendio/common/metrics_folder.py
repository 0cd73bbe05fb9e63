"""Where the processes of one server share what they count.

Prometheus's client library looks for the folder when it is imported, so a main process makes it
before that, for the children that it forks.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_PREFIX = "rendio-metrics-"


def make() -> None:
    """A fresh one, unless the environment names one already."""
    if not os.environ.get(FOLDER):
        os.environ[FOLDER] = tempfile.mkdtemp(prefix=_PREFIX)


def remove() -> None:
    """The one that `make` made."""
    folder = Path(os.environ.get(FOLDER, ""))
    if folder.name.startswith(_PREFIX):
        shutil.rmtree(folder, ignore_errors=True)
