"""Files of counts that are cut, full of rubbish, gone, or on a full disk: calls are answered."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys

import pytest

from tests.helpers import fork_server
from tests.helpers.budget import large

# A web process in short: counts a call, tells /metrics, counts on.
PROCESS = """
import os, resource, sys
from pathlib import Path
{before}
import django
django.setup()
from django.test import Client
from rendio.common.observability import metrics

client = Client()
for number in range(1200):
    metrics.jobs_ordered.labels(f"queue-{{number}}").inc()
{between}
assert client.get("/healthz").status_code == 200
answer = client.get("/metrics")
assert answer.status_code == 200, answer.content
sys.stdout.write(answer.content.decode())
"""
COUNTED = 'rendio_jobs_ordered_total{queue="queue-1199"} 1.0'


@pytest.fixture(scope="module")
def main_process(tmp_path_factory):
    """A server's main process, which counts into a folder of its own until it forks."""
    folder = str(tmp_path_factory.mktemp("main"))
    return fork_server.application({**os.environ, "PROMETHEUS_MULTIPROC_DIR": folder})


@pytest.fixture
def process(main_process, tmp_path):
    """Runs it with a folder for metrics; gives what was logged, and what /metrics said."""

    def process(*, before="", between="", folder=tmp_path):
        done = main_process.run(
            PROCESS.format(before=before, between=between), PROMETHEUS_MULTIPROC_DIR=str(folder)
        )
        assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
        return done.stdout + done.stderr

    return process


def own_file(content: bytes) -> str:
    """A process before this one, with the same number, has left that."""
    return f"""
folder = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
(folder / f"counter_{{os.getpid()}}.db").write_bytes({content!r})
"""


def entry(key: str) -> bytes:
    padded = key.encode() + b" " * (8 - (len(key) + 4) % 8)
    body = struct.pack(f"i{len(padded)}sdd", len(key), padded, 1.0, 0.0)
    return struct.pack("ii", 8 + len(body), 0) + body


ANOTHER_VERSION = entry(json.dumps(["rendio_jobs_ordered", "rendio_jobs_ordered_total"]))
CUT = ANOTHER_VERSION[:20]
NO_TEXT = entry("x").replace(b"x", b"\xff")


@pytest.mark.parametrize("content", [CUT, NO_TEXT])
def test_corrupt_metrics_file_of_this_process_is_replaced(process, content):
    told = process(before=own_file(content))

    assert COUNTED in told
    assert "metrics_file_set_aside" in told


def test_corrupt_metrics_file_of_another_process_is_skipped(process, tmp_path):
    rubbish = [b"x", b"x" * 9000, CUT, NO_TEXT, ANOTHER_VERSION]
    for number, content in enumerate(rubbish):
        (tmp_path / f"counter_1{number}.db").write_bytes(content)
    for name in ("gauge_1.db", "what.db"):
        (tmp_path / name).write_bytes(entry('["a", "b", {}, "c"]'))
    (tmp_path / "counter_2.db").write_bytes(b"")  # its process has just made it

    told = process()

    assert COUNTED in told
    aside = {file.name for file in tmp_path.glob("*.unreadable")}
    assert aside == {
        *(f"counter_1{number}.db.unreadable" for number in range(len(rubbish))),
        "gauge_1.db.unreadable",
        "what.db.unreadable",
    }


NO_ROOM = "resource.setrlimit(resource.RLIMIT_FSIZE, ({bytes}, {bytes}))"


@pytest.mark.parametrize("room", [0, 1 << 16])
def test_full_disk_loses_metrics_and_no_request(process, room):
    """The limit has the effect of a full disk where blocks are asked for: there are none."""
    told = process(before=NO_ROOM.format(bytes=room))

    assert COUNTED not in told
    assert "metrics_kept_in_memory" in told


def test_missing_metrics_folder_loses_metrics_and_no_request(process, tmp_path):
    told = process(folder=tmp_path / "none")
    assert "metrics_kept_in_memory" in told

    told = process(between='import shutil; shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"])')
    assert "rendio_database_up" in told


@large
def test_server_starts_without_a_metrics_folder():
    before = """
import tempfile
tempfile.tempdir = "/proc/nowhere"
from rendio.common.observability import metrics_folder
metrics_folder.make()
"""
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "rendio.settings"}
    environment.pop("PROMETHEUS_MULTIPROC_DIR", None)

    # A process of its own: the library looks for the folder when it is imported.
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", PROCESS.format(before=before, between="")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
    assert COUNTED in done.stdout
    assert "No folder for metrics" in done.stderr
