"""What is written to the log, as it is written: after whatever takes secrets out."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from structlog.stdlib import ProcessorFormatter


@contextmanager
def capture_log(level: int = logging.INFO) -> Iterator[io.StringIO]:
    """The lines that all loggers write meanwhile."""
    formatter = {**settings.LOGGING["formatters"]["json"]}
    formatter.pop("()")
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(ProcessorFormatter(**formatter))
    handler.setLevel(level)
    logging.getLogger().addHandler(handler)
    try:
        yield written
    finally:
        logging.getLogger().removeHandler(handler)
