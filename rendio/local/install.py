"""Install lock files into this virtual environment, every file checked against its hash:

    .venv/bin/python -I rendio/local/install.py requirements-uv.txt requirements-local.txt

uv installs the last of them in a tenth of pip's time. pip installs uv from its wheel first, and
does all of the work where uv has no wheel for the platform, or fails. Only the standard library is
available here.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

PIP = [sys.executable, "-m", "pip"]
INSTALL = [*PIP, "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
# pip's settings that decide where packages come from, and uv's variables for the same.
UV_VARIABLES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "client-cert": "SSL_CLIENT_CERT",
    "proxy": "ALL_PROXY",
    "no-cache-dir": "UV_NO_CACHE",
}


def main(uv_lock: str, lock: str) -> int:
    """Returns pip's exit code, or 0 if uv has installed everything."""
    # Without a wheel, pip would compile uv, for which it would need Rust.
    has_uv = _run([*INSTALL, "--only-binary=:all:", "--requirement", uv_lock]) == 0
    if has_uv and _install_with_uv(lock) == 0:
        return 0
    sys.stderr.write("Installing with pip instead of uv; this takes about a minute.\n")
    return _run([*INSTALL, "--requirement", lock])


def _install_with_uv(lock: str) -> int:
    settings = _pip_settings()
    command = [os.fspath(Path(sys.executable).parent / "uv"), "pip", "install", "--quiet"]
    command += ["--python", sys.executable, "--require-hashes", "--requirement", lock]
    if settings.get("no-index", "false").lower() in ("1", "true", "yes", "on"):
        command += ["--no-index"]
    return _run(command, env=uv_environment(settings) | os.environ)


def uv_environment(settings: dict[str, str]) -> dict[str, str]:
    """uv's variables for pip's settings. Without an index in them, uv like pip asks PyPI."""
    environment = {UV_VARIABLES[name]: settings[name] for name in UV_VARIABLES.keys() & settings}
    if links := environment.get("UV_FIND_LINKS"):
        environment["UV_FIND_LINKS"] = links.replace(" ", ",")
    return environment | {
        # Like pip: any index may have the file. Only a file with the right hash is accepted.
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }


def _pip_settings() -> dict[str, str]:
    """pip's settings from its files and from the environment, lists separated by spaces.

    uv reads none of them.
    """
    listed = subprocess.run(  # noqa: S603
        [*PIP, "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    found: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        section, _, name = name.partition(".")
        if section in found:
            found[section][name] = " ".join(ast.literal_eval(value).split())
    # Later sections have precedence, as in pip.
    return found["global"] | found["install"] | found[":env:"]


def _run(command: list[str], *, env: dict[str, str] | None = None) -> int:
    try:
        return subprocess.run(command, env=env, check=False).returncode  # noqa: S603
    except OSError as failure:  # a program of another platform
        sys.stderr.write(f"{failure}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
