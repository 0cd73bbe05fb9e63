"""`make manage ARGS="prove_ledger"`: a management command beside a `make run`, on its servers."""

import os
import sys
from typing import NoReturn

from rendio.local.data_dir import PROJECT, DataDir, NotRunning


def manage(arguments: list[str]) -> NoReturn:
    """Become `manage.py`, or end with a message where nothing runs in the home."""
    data_dir = DataDir.from_environment()
    try:
        running = data_dir.environment_of_owner()
    except NotRunning:
        sys.exit(
            f"Nothing is running in {data_dir.root}. Start it with `make run`, then try again."
        )
    given = {name: value for name, value in os.environ.items() if value}
    command = [sys.executable, os.fspath(PROJECT / "manage.py"), *arguments]
    os.execve(command[0], command, running | given)  # noqa: S606
