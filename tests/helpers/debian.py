"""PostgreSQL and Valkey with TLS, and PgBouncer, as `.ci/servers` unpacks them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from rendio.local import child_process, ports
from rendio.local.data_dir import PROJECT, DataDir
from rendio.local.servers import PostgreSQL, Valkey
from tests.helpers.wait import wait_for

ROOT = Path(sys.prefix) / "debian"
POSTGRESQL = ROOT / "usr/lib/postgresql/17/bin"
needed = pytest.mark.skipif(
    not (ROOT / "made").exists(),
    reason="Debian's servers are not here: .ci/servers unpacks them where there is apt",
)


class Authority:
    """Signs certificates for servers on 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, folder.name)])
        self.file = folder / "authority.pem"
        self.file.write_bytes(_pem(self._signed(self._name, self._key, is_authority=True)))

    def certify(self, host: str = "127.0.0.1") -> tuple[Path, Path]:
        """The files of a certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        certificate, key_file = self._folder / f"{host}.pem", self._folder / f"{host}.key"
        certificate.write_bytes(_pem(self._signed(subject, key, host=host)))
        key_file.touch(mode=0o600)
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return certificate, key_file

    def _signed(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        *,
        is_authority: bool = False,
        host: str = "",
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
        )
        if is_authority:
            builder = builder.add_extension(
                x509.KeyUsage(
                    *[False, False, False, False, False, True, True, False, False],
                ),
                critical=True,
            )
        if host:
            known_as = x509.IPAddress(ip_address(host)) if host[0].isdigit() else x509.DNSName(host)
            builder = builder.add_extension(x509.SubjectAlternativeName([known_as]), critical=False)
        return builder.sign(self._key, hashes.SHA256())


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


class TlsPostgreSQL(PostgreSQL):
    """Takes connections with TLS and without, as Debian's own cluster does."""

    def __init__(self, data_dir: DataDir, *, password: str, authority: Authority) -> None:
        super().__init__(data_dir, password=password, durable=False)
        self._certificate, self._key = authority.certify()

    def _binary(self, name: str) -> str:
        return str(POSTGRESQL / name)

    def _prepare_folder(self) -> None:
        super()._prepare_folder()
        owner = self._data.stat()
        for name, file in {"server.crt": self._certificate, "server.key": self._key}.items():
            ours = self._data / name
            ours.write_bytes(file.read_bytes())
            ours.chmod(0o600)
            os.chown(ours, owner.st_uid, owner.st_gid)

    def _settings(self) -> dict[str, str]:
        return super()._settings() | {"ssl": "on"}


class TlsValkey(Valkey):
    """Wants TLS and a password, and no certificate of clients."""

    PASSWORD = "a password of Valkey"

    def __init__(self, data_dir: DataDir, *, authority: Authority) -> None:
        super().__init__(data_dir, durable=False)
        self._authority = authority
        self._certificate, self._key = authority.certify()

    @property
    def url(self) -> str:
        return f"rediss://:{quote(self.PASSWORD)}@127.0.0.1:{self.port}/0"

    def _binary(self) -> str:
        return str(ROOT / "usr/bin/valkey-server")

    def _settings(self) -> dict[str, str]:
        return super()._settings() | {
            "port": "0",
            "tls-port": str(self.port),
            "tls-cert-file": str(self._certificate),
            "tls-key-file": str(self._key),
            "tls-ca-cert-file": str(self._authority.file),
            "tls-auth-clients": "no",
            "requirepass": self.PASSWORD,
        }

    def _client(self) -> dict[str, Any]:
        return {"ssl": True, "ssl_ca_certs": str(self._authority.file), "password": self.PASSWORD}


class PgBouncer:
    """`ops/pgbouncer.ini` before a PostgreSQL, with changes."""

    def __init__(self, data_dir: DataDir, *, database_url: str, **changes: object) -> None:
        self._home = data_dir
        self._server = urlsplit(database_url)
        self._changes = changes
        self.port = ports.reserve_any()
        self.child: child_process.ChildProcess | None = None

    def url(self, database: str) -> str:
        login = f"{self._server.username}:{self._server.password}"
        return f"postgresql://{login}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        # Beside the home, which is closed: PgBouncer gives root's rights up before it reads users.
        folder = self._folder = Path(tempfile.mkdtemp(prefix="rendio-pgbouncer-"))
        config, users, log = (folder / name for name in ("ini", "users", "log"))
        users.touch(mode=0o600)
        users.write_text(f'"{self._server.username}" "{self._server.password}"\n')
        config.write_text(self._config(users))
        if os.geteuid() == 0:
            for path in (folder, users):
                shutil.chown(path, "nobody")
        self.child = running = child_process.ChildProcess(
            "pgbouncer",
            argv=[str(ROOT / "usr/sbin/pgbouncer"), str(config)],
            env={"PATH": os.defpath},
            cwd=folder,
            pid_folder=self._home.pids,
            log=log,
            # At once: SIGTERM waits for clients to leave.
            stop_signal=signal.SIGQUIT,
        )
        running.start()
        wait_for(lambda: not running.running or not ports.is_free(self.port))
        assert running.running, log.read_text()

    def stop(self) -> None:
        if self.child:
            self.child.stop()
            shutil.rmtree(self._folder)

    def _config(self, users: Path) -> str:
        """All that the file's comments ask for is put in."""
        changes = {
            "rendio": f"host=127.0.0.1 port={self._server.port}",
            "listen_port": self.port,
            "auth_file": users,
            # Fewer than there are clients.
            "default_pool_size": 3,
            "unix_socket_dir": "",
            "user": "nobody" if os.geteuid() == 0 else "",
            **self._changes,
        }
        config = (PROJECT / "ops/pgbouncer.ini").read_text()
        for name, value in changes.items():
            line = f"{'*' if name == 'rendio' else name} = {value}"
            config, found = re.subn(rf"^{name} = .*$", line, config, flags=re.M)
            if not found:
                config += f"{line}\n"
        return config
