"""Prometheus counters and histograms of this process. /metrics adds gauges from the database.

The processes of a web server, or of a worker, write into one folder (`metrics_folder`), and any of
them reports for all. Counts start at zero with each start, as Prometheus expects.
"""

from __future__ import annotations

import os
from pathlib import Path

from django.db import transaction
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

from rendio.common.observability import metrics_files
from rendio.common.observability.metrics_folder import FOLDER

__all__ = ["CONTENT_TYPE_LATEST"]

metrics_files.use_safe_files()

# From a database query to a slow video.
SECONDS = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)

jobs_ordered = Counter("rendio_jobs_ordered", "Jobs paid for.", ["queue"])
jobs_ended = Counter(
    "rendio_jobs_ended", "Jobs that ended, and why they did.", ["queue", "status", "reason"]
)
job_seconds = Histogram(
    "rendio_job_stage_seconds",
    "Of completed jobs: waiting here, being made by the provider, being stored, and all of it. The "
    "queue of a training is training.",
    ["queue", "stage"],
    buckets=SECONDS,
)
submissions = Counter(
    "rendio_submissions", "Jobs handed to a provider, and what came of it.", ["provider", "outcome"]
)
unknown_provider_states = Counter(
    "rendio_unknown_provider_states",
    "Answers of a provider with a state that its published description does not list.",
    ["provider"],
)
moderated = Counter(
    "rendio_moderated",
    "What moderation was shown; the verdict is allowed, refused or out_of_reach.",
    ["moderator", "verdict"],
)
content_credentials = Counter(
    "rendio_content_credentials",
    "Results to be signed with our Content Credentials; the outcome is signed or failed.",
    ["outcome"],
)
prompts_improved = Counter(
    "rendio_prompts_improved",
    "Prompts given to the prompt helper; the outcome is improved or failed.",
    ["outcome"],
)
# At 0 from the start, so that the first failure is visible to `increase()`.
for _counter in (content_credentials, prompts_improved):
    _counter.labels("failed")
pushes = Counter(
    "rendio_pushes",
    "Attempts to tell an iPhone something; the outcome is how it ended, or postponed, or held where"
    " Apple refuses our key.",
    ["kind", "outcome"],
)
outbound_seconds = Histogram(
    "rendio_outbound_seconds",
    "Requests to providers and to Apple; the outcome is a status, not_sent or no_answer.",
    ["host", "method", "outcome"],
    buckets=SECONDS,
)
credits_moved = Counter(
    "rendio_credits_moved", "Credits that entries of the ledger moved.", ["kind", "direction"]
)
event_streams = Gauge("rendio_event_streams", "Open event streams.", multiprocess_mode="livesum")
event_streams_closed = Counter(
    "rendio_event_streams_closed",
    "Event streams that closed: ended, expired, disconnected, revoked or stopped.",
    ["reason"],
)
events_sent = Counter("rendio_events_sent", "Events sent to open streams.")
task_seconds = Histogram(
    "rendio_task_seconds", "Celery tasks, by how they ended.", ["task", "state"], buckets=SECONDS
)


def count_credits(kind: str, change: int) -> None:
    """Counts once the caller's transaction has committed."""
    direction = "in" if change > 0 else "out"
    moved = credits_moved.labels(kind, direction)
    transaction.on_commit(lambda: moved.inc(abs(change)), robust=True)


def exposition(*more: CollectorRegistry) -> bytes:
    """All counts in Prometheus's text format, followed by the registries in `more`."""
    counted = REGISTRY
    folder = Path(os.environ.get(FOLDER, ""))
    if FOLDER in os.environ and folder.is_dir():
        counted = CollectorRegistry()
        counted.register(metrics_files.FolderCollector(folder))
    return b"".join(generate_latest(registry) for registry in (counted, *more))
