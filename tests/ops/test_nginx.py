"""`ops/nginx.conf` in a real nginx, before the web process as it runs in production."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import requests

from generation import media
from rendio.local import child_process, ports
from rendio.local.data_dir import PROJECT
from tests.events.conftest import events_url
from tests.generation.conftest import running
from tests.helpers import shared_stack
from tests.helpers.debian import ROOT, Authority, needed
from tests.helpers.job_driver import WebPhone, ended
from tests.helpers.wait import PATIENCE_SECONDS, wait_for

__all__ = ["events_url", "running"]  # fixtures

pytestmark = [needed, pytest.mark.usefixtures("committed")]
STACK_ENVIRONMENT = {"TRUSTED_PROXIES": 1, "RATE_LIMIT_UNPROVEN_PER_HOUR": 2}
# All but nginx.conf's own: what Debian's nginx.conf would say, in a folder of ours.
AROUND = """
daemon off;
{user}
pid {folder}/pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/rendio.conf;
}}
"""


@contextmanager
def nginx(folder, authority, *, web_port, events_port):
    """Its addresses by https and by http. It listens on loopback, with what has to be put in."""
    port, plain_port = ports.reserve_any(), ports.reserve_any()
    certificate, key = authority.certify()
    config = (PROJECT / "ops/nginx.conf").read_text()
    for ours, here in {
        "127.0.0.1:8000;\n    keepalive 64": f"127.0.0.1:{web_port};\n    keepalive 64",
        "127.0.0.1:8000 backup": f"127.0.0.1:{web_port} backup",
        "127.0.0.1:8001": f"127.0.0.1:{events_port}",
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "listen [::]:443 ssl;": "",
        "listen 80": f"listen 127.0.0.1:{plain_port}",
        "listen [::]:80;": "",
        "/etc/ssl/rendio/fullchain.pem": str(certificate),
        "/etc/ssl/rendio/privkey.pem": str(key),
    }.items():
        assert config.count(ours) == 1, ours
        config = config.replace(ours, here)
    (folder / "rendio.conf").write_text(config)
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(AROUND.format(folder=folder, user=user))
    process = child_process.ChildProcess(
        "nginx",
        argv=[str(ROOT / "usr/sbin/nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf")],
        env={"PATH": os.defpath},
        cwd=folder,
        pid_folder=folder,
        log=folder / "log",
    )
    process.start()
    try:
        wait_for(lambda: not process.running or not ports.is_free(port))
        assert process.running, (folder / "log").read_text()
        yield f"https://127.0.0.1:{port}", f"http://127.0.0.1:{plain_port}"
    finally:
        process.stop()


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server(tmp_path_factory, authority):
    folder = tmp_path_factory.mktemp("nginx")
    web_port = int(os.environ["PUBLIC_URL"].rsplit(":", 1)[1])
    events_port = shared_stack.EVENTS_PORT
    with nginx(folder, authority, web_port=web_port, events_port=events_port) as (url, _plain_url):
        yield url


@pytest.fixture
def proxy(running, server):
    """nginx, with the web process behind it."""
    return server


@pytest.fixture
def http(authority):
    with requests.Session() as http:
        http.trust_env = False
        http.verify = str(authority.file)
        yield http


@pytest.fixture
def phone(proxy, http):
    phone = WebPhone(proxy)
    phone.http = http
    return phone.sign_in()


def test_the_caller_is_who_nginx_saw(proxy, http):
    """Whatever a caller says of itself, it is counted as one."""

    def ask(forged):
        named = {"X-Forwarded-For": forged, "Forwarded": f"for={forged}", "X-Real-IP": forged}
        false = {
            "device_id": str(uuid4()),
            "installation_secret": "s" * 32,
            "key_id": "A" * 43,
            "challenge": "x",
            "attestation": "AAAA",
        }
        return http.post(f"{proxy}/v1/attest-device", json=false, headers=named, timeout=30)

    statuses = [ask(f"203.0.113.{number}").status_code for number in range(3)]

    assert statuses == [403, 403, 429]


@pytest.mark.parametrize("in_chunks", [False, True])
def test_a_large_upload_passes_and_a_larger_one_is_refused_as_web_does(phone, in_chunks):
    def upload(size):
        start = (
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n'
            b"Content-Type: image/jpeg\r\n\r\n"
        )
        form = start + bytes(size) + b"\r\n--x--\r\n"
        return phone.http.post(
            f"{phone.url}/v1/upload-image",
            data=iter([form[: size // 2], form[size // 2 :]]) if in_chunks else form,
            headers=phone._headers() | {"Content-Type": "multipart/form-data; boundary=x"},
            timeout=PATIENCE_SECONDS,
        )

    whole, too_large = upload(9_900_000), upload(12_000_000)

    # It came whole: web looked into it, and it is no picture.
    assert (whole.status_code, whole.json()["error"]["code"]) == (400, "ERR_4017"), whole.text
    assert too_large.status_code == 413
    assert too_large.json()["error"]["request_id"]


def test_events_are_passed_on_as_they_come(running, events_url, phone, sandbox):
    sandbox.provider(run_seconds=600, cancel_running=True)
    (job_id,) = phone.order()
    lines = follow(phone, job_id)

    # The job goes on, so the answer has no end yet.
    assert any(line == "event: status" for line in lines)
    phone.post("cancel-video-job", {"job_id": job_id})
    assert any('"cancelled"' in line for line in lines)

    # Without the process, web answers at once.
    running.stack.stop("events")
    assert any('"cancelled"' in line for line in list(follow(phone, job_id)))
    ended(job_id)


def follow(phone, job_id):
    stream = phone.http.get(
        f"{phone.url}/v1/video-jobs/{job_id}/events",
        headers=phone._headers(),
        stream=True,
        timeout=PATIENCE_SECONDS,
    )
    return stream.iter_lines(chunk_size=1, decode_unicode=True)


def test_parts_of_a_film_are_sent_as_asked(proxy, http):
    name = f"videos/{uuid4()}.mp4"
    film = Path(os.environ["MEDIA_ROOT"]) / name
    film.parent.mkdir(parents=True, exist_ok=True)
    film.write_bytes(content := os.urandom(3_000_000))
    url = proxy + urlsplit(media.signed_url(name)).path

    part = http.get(url, headers={"Range": "bytes=1000000-1999999"}, timeout=30)
    of_another = http.get(url, headers={"Range": "bytes=0-1", "If-Range": '"another"'}, timeout=30)
    film.unlink()

    assert (part.status_code, part.headers["Content-Range"]) == (
        206,
        "bytes 1000000-1999999/3000000",
    )
    assert part.content == content[1_000_000:2_000_000]
    assert (of_another.status_code, of_another.content == content) == (200, True)


def test_pages_for_us_are_not_for_the_world(proxy, http):
    pages = ["healthz", "readyz", "statusz", "metrics"]

    assert {http.get(f"{proxy}/{page}", timeout=30).status_code for page in pages} == {404}


def test_a_web_that_is_down_is_told_in_the_form_that_apps_know(tmp_path, authority, http):
    with nginx(
        tmp_path, authority, web_port=ports.reserve_any(), events_port=ports.reserve_any()
    ) as (url, plain_url):
        answer = http.get(f"{url}/v1/get-models", timeout=30)
        by_http = http.post(f"{plain_url}/v1/device-check?a=b", allow_redirects=False, timeout=30)

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert answer.headers["Content-Type"] == "application/json"
    error = answer.json()["error"]
    assert error["code"] == "ERR_6003"
    assert error["request_id"]
    # With its method and body, which 301 loses.
    assert (by_http.status_code, by_http.headers["Location"]) == (
        308,
        "https://127.0.0.1/v1/device-check?a=b",
    )
