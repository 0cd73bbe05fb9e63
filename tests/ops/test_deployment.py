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

from tests.helpers.budget import large
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
        "web", "events", "worker-high", "worker-medium", "worker-low", "beat", "flower",
    }  # fmt: skip
    assert set(PROCFILE) < set(COMPOSE["services"])
    assert COMPOSE["services"]["sandbox"]["profiles"] == ["sandbox"]
    for name, service in COMPOSE["services"].items():
        if name.startswith("worker-"):
            assert service["environment"]["QUEUE"] == name.removeprefix("worker-")
        # The web image has its own.
        assert "healthcheck" in service or name == "web", name


def test_one_service_builds_an_image_and_the_others_run_it():
    """Of several that build one tag at once, current Docker fails all but the first."""
    by_image = {}
    for name, service in COMPOSE["services"].items():
        by_image.setdefault(service["image"], []).append(name)

    for image, names in by_image.items():
        building = [name for name in names if "build" in COMPOSE["services"][name]]
        assert len(building) <= 1, (image, building)
        for name in names if building else []:
            service = COMPOSE["services"][name]
            others = name not in building
            assert service.get("pull_policy") == "never" or not others, "it would be looked for"
            # What builds it is waited for.
            assert not others or "migrate" in service["depends_on"]
    assert {image for image, names in by_image.items() if set(PROCFILE) & set(names)} == {"rendio"}


def test_a_second_web_container_has_no_port_of_the_machine_to_quarrel_about():
    listening = {name for name, one in COMPOSE["services"].items() if one.get("ports")}

    assert listening == {"proxy", "flower", "sandbox"}
    assert COMPOSE["services"]["proxy"]["depends_on"] == {"web": {"condition": "service_healthy"}}
    assert "./Caddyfile:/etc/caddy/Caddyfile:ro" in COMPOSE["services"]["proxy"]["volumes"]


# What a container cannot be told otherwise: its own part in the whole.
FIXED = {"PORT", "EVENTS_PORT", "QUEUE", "ADDRESS", "MEDIA_ROOT"}


def interpolated(text, given):
    """As Compose does it (compose-spec, "Interpolation"), for ${NAME}, :- and :?."""
    found = re.search(r"\$\{(\w+)(?::([-?])((?:[^{}]|\{[^{}]*\})*))?\}", text)
    if not found:
        return text
    name, operator, rest = found.groups()
    value = given.get(name) or (rest if operator == "-" else "")
    assert value or operator != "?", f"{name}: {rest}"
    return interpolated(text[: found.start()] + value + text[found.end() :], given)


def test_the_proxy_serves_public_url_unless_it_is_told_otherwise():
    proxy = COMPOSE["services"]["proxy"]
    behind_another = {
        "PUBLIC_URL": "https://api.example.com",
        "SITE_ADDRESS": "http://",
        "HTTP_PORT": "127.0.0.1:8000",
        "HTTPS_PORT": "127.0.0.1:8443",
    }

    def told(given):
        ports = [interpolated(port, given) for port in proxy["ports"]]
        return interpolated(proxy["environment"]["SITE_ADDRESS"], given), *ports

    assert told({"PUBLIC_URL": "https://api.example.com"}) == (
        "https://api.example.com", "80:80", "443:443",
    )  # fmt: skip
    assert told(behind_another) == ("http://", "127.0.0.1:8000:80", "127.0.0.1:8443:443")
    for name in behind_another:
        assert re.search(rf"^{name}=", SANDBOX_ENV.read_text(), re.M), name


@pytest.mark.parametrize("name", [*PROCFILE, "migrate"])
def test_what_the_env_file_says_wins(name):
    """`environment` beats `env_file`: what stands there has to ask for what the file says."""
    environment = COMPOSE["services"][name]["environment"]
    passwords = {"POSTGRES_PASSWORD": "p", "REDIS_PASSWORD": "r"}
    said = {variable: f"said-{variable}" for variable in environment if variable not in FIXED}

    resolved = {
        variable: interpolated(text, passwords | said) for variable, text in environment.items()
    }
    unsaid = {
        variable: interpolated(text, passwords | {"FLOWER_BASIC_AUTH": "a:b"})
        for variable, text in environment.items()
    }

    assert {variable: resolved[variable] for variable in said} == said
    assert unsaid["DATABASE_URL"] == "postgresql://rendio:p@postgres:5432/rendio"
    assert unsaid["REDIS_URL"] == "redis://:r@redis:6379/0"
    assert [
        interpolated(volume, given)
        for given in ({}, {"MEDIA_ROOT": "/srv/media"})
        for volume in COMPOSE["services"][name]["volumes"]
    ] == ["media:/media", "/srv/media:/media"]
    # The proxy of the file is in front.
    assert (unsaid["ENVIRONMENT"], unsaid["TRUSTED_PROXIES"]) == ("production", "1")


def test_composes_redis_demands_a_password_of_all_that_speak_to_it():
    required = "${REDIS_PASSWORD:?"
    server = COMPOSE["services"]["redis"]

    assert server["command"][-2] == "--requirepass"
    assert server["command"][-1].startswith(required)
    assert server["environment"]["REDISCLI_AUTH"].startswith(required)
    # Without -e, redis-cli ends well where it was refused.
    assert server["healthcheck"]["test"] == ["CMD", "redis-cli", "-e", "ping"]
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
    monkeypatch.setattr("rendio.config.environment.PRODUCTION", True)
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


@large
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
