"""A deployment forgets ENVIRONMENT, and an attacker signs tokens with the key that stands in the
source.

Each case starts a process: only a start shows what a start refuses.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

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


PRINTS_ITS_ARGUMENTS = f"""#!{sys.executable}
import json, pathlib, sys
print(json.dumps([pathlib.Path(sys.argv[0]).name, *sys.argv[1:]]))
"""


@pytest.fixture(scope="module")
def programs(tmp_path_factory) -> Path:
    """A folder with programs that print their names and arguments."""
    folder = tmp_path_factory.mktemp("programs")
    for name in ("python", "celery"):
        (folder / name).write_text(PRINTS_ITS_ARGUMENTS)
        (folder / name).chmod(0o755)
    return folder


def start(command: str, programs: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run what the shell makes of the command, in a fork instead of a Python of its own."""
    expanded = subprocess.run(  # noqa: S602
        command,
        shell=True,
        env={"PATH": f"{programs}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    name, *arguments = json.loads(expanded.stdout)
    if name == "celery":
        arguments = ["-m", "celery", *arguments]
    return fork_server.run(*arguments, environment={"FLOWER_BASIC_AUTH": "a:b", **variables})


@pytest.mark.parametrize("process", PROCESSES)
def test_each_process_is_refused_beside_real_servers(programs, process):
    refused = start(PROCESSES[process], programs, **DATABASE, **REDIS)

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
