"""A deployment forgets ENVIRONMENT, and an attacker signs tokens with the key that stands in the
source.

Each case starts a process: only a start shows what a start refuses.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from rendio.local.data_dir import PROJECT
from tests.helpers import fork_server

DATABASE = {"DATABASE_URL": "postgresql://rendio:x@db.internal:5432/rendio"}
REDIS = {"REDIS_URL": "redis://:x@redis.internal:6379/0"}
PROCFILE = (PROJECT / "Procfile").read_text().splitlines()
PROCESSES = {
    **dict(line.split(": ", 1) for line in PROCFILE if not line.startswith("worker-")),
    "worker": "exec python -m rendio.worker high",
    "migrate": "exec python manage.py migrate --no-input",
    "runserver": "exec python manage.py runserver --noreload 127.0.0.1:1",
}


def start(command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    folder = os.path.dirname(sys.executable)
    return subprocess.run(  # noqa: S602
        command,
        shell=True,
        cwd=PROJECT,
        env={"PATH": f"{folder}:{os.environ['PATH']}", "FLOWER_BASIC_AUTH": "a:b", **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("process", PROCESSES)
def test_each_process_is_refused_beside_real_servers(process):
    refused = start(PROCESSES[process], **DATABASE, **REDIS)

    assert refused.returncode != 0
    said = refused.stdout + refused.stderr
    assert "ENVIRONMENT is not set, and DATABASE_URL and REDIS_URL name real servers" in said
    assert "Set ENVIRONMENT=production" in said


@pytest.mark.parametrize(
    ("variables", "starts"),
    [
        (DATABASE, False),
        (REDIS, False),
        (DATABASE | {"ENVIRONMENT": " "}, False),
        (DATABASE | REDIS | {"ENVIRONMENT": "development"}, True),
        ({}, True),
    ],
)
def test_either_real_server_demands_that_the_environment_is_named(variables, starts):
    checked = fork_server.manage("check", environment={"FLOWER_BASIC_AUTH": "a:b", **variables})

    assert (checked.returncode == 0) == starts, checked.stderr
    assert starts or checked.stderr.startswith("ImproperlyConfigured: ENVIRONMENT is not set")
