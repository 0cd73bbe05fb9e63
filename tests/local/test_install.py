"""Lock files are installed as on a fresh machine: into a virtual environment of its own, from a
folder of wheels."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
import sysconfig
import zipfile
from importlib import metadata
from pathlib import Path

import pip
import pytest

from rendio.local import install
from rendio.local.data_dir import PROJECT
from tests.helpers.budget import large

ANY_PLATFORM = "py3-none-any"
OTHER_PLATFORM = "py3-none-win_arm64"


class Machine:
    """A virtual environment, a folder of wheels, and pip's configuration that names the folder."""

    def __init__(self, folder: Path) -> None:
        self.wheels = folder / "wheels"
        self.wheels.mkdir()
        self.venv = folder / "venv"
        self._folder = folder
        subprocess.run(  # noqa: S603
            [sys.executable, "-m", "venv", "--without-pip", str(self.venv)], check=True
        )
        purelib = sysconfig.get_path("purelib", "venv", vars={"base": str(self.venv)})
        self.site_packages = Path(purelib)
        (self.site_packages / "pip").symlink_to(Path(pip.__file__).parent)
        self.configuration = folder / "pip.conf"
        self.configuration.write_text(
            f"[global]\nfind-links = {self.wheels}\n[install]\nno-index = true\n"
        )

    def offer(self, name: str, version: str, tag: str, files: dict[str, bytes]) -> Path:
        """Add a wheel to the folder, and return a lock file that pins this wheel."""
        info = f"{name}-{version}.dist-info"
        about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        how = f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n"
        files = files | {f"{info}/METADATA": about.encode(), f"{info}/WHEEL": how.encode()}
        record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
        wheel = self.wheels / f"{name}-{version}-{tag}.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            for path, content in files.items():
                entry = zipfile.ZipInfo(path)
                entry.external_attr = (stat.S_IFREG | 0o755) << 16
                archive.writestr(entry, content)
            archive.writestr(f"{info}/RECORD", record)
        lock = self._folder / f"{name}.txt"
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        lock.write_text(f"{name}=={version} --hash=sha256:{digest}\n")
        return lock

    def offer_uv(self, tag: str) -> Path:
        uv = metadata.distribution("uv")
        binary = next(file for file in uv.files or [] if file.name == "uv")
        content = Path(binary.locate()).read_bytes()
        return self.offer("uv", uv.version, tag, {f"uv-{uv.version}.data/scripts/uv": content})

    def install(self, uv_lock: Path, lock: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603
            [
                *[str(self.venv / "bin" / "python"), "-I"],
                *[str(PROJECT / "rendio" / "local" / "install.py"), str(uv_lock), str(lock)],
            ],
            env={
                "PATH": os.defpath,
                "HOME": str(self._folder),
                "PIP_CONFIG_FILE": str(self.configuration),
                "PIP_NO_CACHE_DIR": "1",
            },
            capture_output=True,
            text=True,
            check=False,
        )

    def installer_of(self, name: str, version: str) -> str | None:
        """The program that has installed the package; None if it is not installed."""
        file = self.site_packages / f"{name}-{version}.dist-info" / "INSTALLER"
        return file.read_text().strip() if file.exists() else None


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


@large
def test_uv_installs_from_where_pip_is_configured_to(machine):
    uv_lock = machine.offer_uv(ANY_PLATFORM)
    lock = machine.offer("tiny", "1.0", ANY_PLATFORM, {"tiny.py": b""})

    installed = machine.install(uv_lock, lock)

    assert (installed.returncode, installed.stderr) == (0, "")
    assert machine.installer_of("uv", metadata.version("uv")) == "pip"
    assert machine.installer_of("tiny", "1.0") == "uv"


@large
def test_pip_installs_where_uv_has_no_wheel_for_the_platform(machine):
    uv_lock = machine.offer_uv(OTHER_PLATFORM)
    lock = machine.offer("tiny", "1.0", ANY_PLATFORM, {"tiny.py": b""})

    installed = machine.install(uv_lock, lock)

    assert installed.returncode == 0, installed.stderr
    assert "Installing with pip instead of uv" in installed.stderr
    assert machine.installer_of("tiny", "1.0") == "pip"


@large
@pytest.mark.parametrize("program", [b"#!/bin/sh\nexit 2\n", b"of another platform"])
def test_pip_installs_where_uv_fails(machine, program):
    uv_lock = machine.offer("uv", "1", ANY_PLATFORM, {"uv-1.data/scripts/uv": program})
    lock = machine.offer("tiny", "1.0", ANY_PLATFORM, {"tiny.py": b""})

    installed = machine.install(uv_lock, lock)

    assert installed.returncode == 0, installed.stderr
    assert machine.installer_of("tiny", "1.0") == "pip"


def test_a_wheel_with_another_hash_is_not_installed(machine):
    uv_lock = machine.offer_uv(ANY_PLATFORM)
    lock = machine.offer("tiny", "1.0", ANY_PLATFORM, {"tiny.py": b""})
    honest = lock.read_text()
    machine.offer("tiny", "1.0", ANY_PLATFORM, {"tiny.py": b"changed = True"})
    lock.write_text(honest)

    refused = machine.install(uv_lock, lock)

    assert refused.returncode == 1
    assert "DO NOT MATCH THE HASHES" in refused.stderr
    assert machine.installer_of("tiny", "1.0") is None


def test_uv_gets_pips_indexes_and_pypi_by_default():
    configured = {
        "index-url": "https://user:pass@packages.example.com/simple",
        "extra-index-url": "https://a.example.com/simple https://b.example.com/simple",
        "find-links": "/one /other",
        "timeout": "30",
    }

    assert install.uv_environment(configured) == {
        "UV_DEFAULT_INDEX": "https://user:pass@packages.example.com/simple",
        "UV_INDEX": "https://a.example.com/simple https://b.example.com/simple",
        "UV_FIND_LINKS": "/one,/other",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }
    assert install.uv_environment({}) == {"UV_INDEX_STRATEGY": "unsafe-best-match"}


def test_every_lock_pins_what_the_smaller_one_does():
    """`make test` adds to what `make run` has installed, and `make run` to what production runs."""

    def pins(name: str) -> set[str]:
        lines = (PROJECT / name).read_text().splitlines()
        return {line.split(" ")[0] for line in lines if line[:1].isalnum()}

    assert pins("requirements.txt") < pins("requirements-local.txt") < pins("requirements-dev.txt")
