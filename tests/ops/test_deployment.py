"""The files that production is started by name the same processes, and what they start is there."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import yaml

from tests.test_production import SOUND

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
PROCFILE = dict(
    line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines() if line
)
DOCKER_COMPOSE = shutil.which("docker-compose") or ""
SANDBOX_ENV = ROOT / "ops" / "sandbox.env"


def test_compose_runs_what_the_procfile_does():
    assert set(PROCFILE) == {
        "web", "worker-high", "worker-medium", "worker-low", "beat", "flower",
    }  # fmt: skip
    assert set(PROCFILE) < set(COMPOSE["services"])
    assert COMPOSE["services"]["sandbox"]["profiles"] == ["sandbox"]
    for name, service in COMPOSE["services"].items():
        if name.startswith("worker-"):
            assert service["environment"]["QUEUE"] == name.removeprefix("worker-")
        # The web image has its own.
        assert "healthcheck" in service or name == "web", name


def test_composes_redis_demands_a_password_of_all_that_speak_to_it():
    required = "${REDIS_PASSWORD:?"
    server = COMPOSE["services"]["redis"]

    assert server["command"][-2] == "--requirepass"
    assert server["command"][-1].startswith(required)
    assert server["environment"]["REDISCLI_AUTH"].startswith(required)
    # Without -e, redis-cli ends well where it was refused.
    assert server["healthcheck"]["test"] == ["CMD", "redis-cli", "-e", "ping"]
    for name in PROCFILE:
        url = COMPOSE["services"][name]["environment"]["REDIS_URL"]
        assert url.startswith(f"redis://:{required}"), name
    assert re.search(r"^REDIS_PASSWORD=.", SANDBOX_ENV.read_text(), re.M)


def test_flower_does_not_start_in_production_without_a_login():
    refused = subprocess.run(  # noqa: S602
        PROCFILE["flower"].replace("celery", f"{sys.executable} -m celery"),
        shell=True,
        cwd=ROOT,
        env={**SOUND, "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert refused.returncode == 1
    assert "FLOWER_BASIC_AUTH must be user:password" in refused.stderr


@pytest.mark.parametrize(
    ("login", "starts"),
    [
        ("staff", False),
        ("staff:sandbox", False),
        ("staff:long-enough-for-us", True),
        ("staff:long-enough-for-us,another:", False),
    ],
)
def test_a_login_of_flower_has_a_password_of_some_length(monkeypatch, login, starts):
    monkeypatch.setattr("rendio.environment.PRODUCTION", True)
    monkeypatch.setenv("FLOWER_BASIC_AUTH", login)

    with nullcontext() if starts else pytest.raises(SystemExit):
        runpy.run_path(str(ROOT / "flowerconfig.py"))


@pytest.mark.parametrize(
    ("given", "address"),
    [("", "127.0.0.1"), ("::", "::"), ("[::1]", "::1"), ("[::1]:5555", None)],
)
def test_flower_listens_at_addresses_of_both_kinds(monkeypatch, given, address):
    monkeypatch.setenv("FLOWER_BASIC_AUTH", "staff:long-enough-for-us")
    monkeypatch.setenv("FLOWER_ADDRESS", given)

    with nullcontext() if address else pytest.raises(SystemExit, match=r"^FLOWER_ADDRESS must"):
        assert runpy.run_path(str(ROOT / "flowerconfig.py"))["address"] == address


def test_no_image_runs_as_root():
    _, *stages = re.split(r"^FROM ", (ROOT / "Dockerfile").read_text(), flags=re.M)
    started = [stage for stage in stages if "\nCMD " in stage]

    assert len(started) == 2
    assert all("\nUSER rendio\n" in stage for stage in started)


def test_the_images_static_files_can_be_gathered_without_a_secret(tmp_path):
    """The line of the Dockerfile, with the settings of production."""
    line = re.search(
        r"^RUN (word=.*?collectstatic[^\\]*)", (ROOT / "Dockerfile").read_text(), re.M | re.S
    )
    assert line
    script = line[1].replace("python manage.py", f"{sys.executable} manage.py") + " --dry-run"

    gathered = subprocess.run(  # noqa: S602
        script,
        shell=True,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )

    assert gathered.returncode == 0, gathered.stderr


@pytest.mark.skipif(not DOCKER_COMPOSE, reason="docker-compose is not on the PATH")
@pytest.mark.parametrize("profile", [[], ["--profile", "sandbox"]])
def test_docker_compose_accepts_the_file(profile):
    said = subprocess.run(  # noqa: S603
        [DOCKER_COMPOSE, "--env-file", SANDBOX_ENV, *profile, "config", "--services"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert said.returncode == 0, said.stderr
