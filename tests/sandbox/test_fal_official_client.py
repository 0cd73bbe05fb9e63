"""fal's own Python client, unmodified, against the sandbox: only the host is another.

It insists on https, so a small front ends TLS before the sandbox, as nginx would.
"""

import http.client
import json
import os
import ssl
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.helpers.trained_weights import metadata_of, zip_of
from tests.helpers.trained_weights import served as served_file

WALK = """
import json, os
import fal_client
import httpx

def told(status):
    return [type(status).__name__, vars(status)]

model = "fal-ai/veo3.1"
client = fal_client.SyncClient(key="id-of-a-tester:secret-of-a-tester")
handle = client.submit(model, {"prompt": "A cat", "duration": "4s"}, webhook_url=os.environ["HOOK"])
story = {
    "request_id": handle.request_id,
    "events": [told(status) for status in handle.iter_events(with_logs=True, interval=0.05)],
    "result": handle.get(),
    "result_by_id": client.result(model, handle.request_id),
    "status_by_id": told(client.status(model, handle.request_id, with_logs=True)),
}
try:
    handle.cancel()
except fal_client.FalClientHTTPError as error:
    story["late_cancel"] = [error.response.status_code, error.response.json()]

waiting = client.submit("fal-ai/slow/text-to-video", {"prompt": "A cat"})
story["waiting"] = told(waiting.status())
waiting.cancel()
story["cancelled"] = told(waiting.status())

trainer = "fal-ai/flux-lora-fast-training"
order = {"images_data_url": os.environ["ZIP"], "trigger_word": "ohwx", "steps": 600}
story["trained"] = client.submit(trainer, order).get()

refused = client.submit("fal-ai/refused/text-to-video", {"prompt": "A cat"})
try:
    refused.get()
except fal_client.FalClientHTTPError as error:
    story["refused"] = [error.response.status_code, error.response.json()]
print(json.dumps(story))
"""


class TlsFront:
    """Maps https://localhost:PORT/… to the sandbox's /fal/queue/…"""

    def __init__(self, sandbox_url, folder):
        self.certificate = folder / "certificate.pem"
        key_file = folder / "key.pem"
        _write_certificate(self.certificate, key_file)
        upstream = sandbox_url.removeprefix("http://")
        front = self

        class Handler(BaseHTTPRequestHandler):
            def forward(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                connection = http.client.HTTPConnection(upstream, timeout=30)
                headers = dict(self.headers) | {
                    "X-Forwarded-Proto": "https",
                    "X-Forwarded-Host": front.host,
                    "X-Forwarded-Prefix": "",
                }
                connection.request(self.command, f"/fal/queue{self.path}", body, headers)
                answer = connection.getresponse()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("transfer-encoding", "date", "server"):
                        self.send_header(name, value)
                self.end_headers()
                while chunk := answer.read1():
                    self.wfile.write(chunk)
                connection.close()

            do_GET = do_POST = do_PUT = forward

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"localhost:{self.server.server_port}"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, key_file)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def _write_certificate(certificate_file, key_file):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


@pytest.fixture(scope="module")
def story(served, tmp_path_factory):
    """What the client saw on one walk through all it can do."""
    served.control("reset")
    served.fal(queue_seconds=0.3, run_seconds=0.5)
    served.fal(model="fal-ai/flux-lora-fast-training", queue_seconds=0, run_seconds=0)
    served.fal(model="fal-ai/slow/text-to-video", queue_seconds=60)
    served.fal(model="fal-ai/refused/text-to-video", outcome="content_policy", run_seconds=0)
    front = TlsFront(served.url, tmp_path_factory.mktemp("tls"))
    with served_file(zip_of(4)) as zip_url:
        walk = subprocess.run(  # noqa: S603
            [sys.executable, "-c", WALK],
            env=os.environ
            | {
                "FAL_RUN_HOST": front.host,
                "FAL_QUEUE_RUN_HOST": front.host,
                "SSL_CERT_FILE": str(front.certificate),
                "NO_PROXY": "*",
                "HOOK": "http://127.0.0.1:1/hook",
                "ZIP": zip_url,
            },
            capture_output=True,
            text=True,
            timeout=60,
        )
    front.close()
    assert walk.returncode == 0, walk.stderr
    return json.loads(walk.stdout) | {"asked": served.requests(), "jobs": served.jobs()}


def test_the_official_client_submits_with_a_webhook(story):
    first = story["jobs"][0]

    assert first["request_id"] == story["request_id"]
    assert first["input"] == {"prompt": "A cat", "duration": "4s"}
    assert first["webhook_url"] == "http://127.0.0.1:1/hook"


def test_the_official_client_follows_a_job_to_its_end(story):
    kinds = [kind for kind, _ in story["events"]]

    assert list(dict.fromkeys(kinds)) == ["Queued", "InProgress", "Completed"]
    assert story["events"][0][1] == {"position": 0}
    _, last = story["events"][-1]
    assert last["metrics"] == {"inference_time": 0.5}
    assert last["logs"][-1]["message"] == "Rendering 100%"
    assert (last["error"], last["error_type"]) == (None, None)
    assert story["status_by_id"] == story["events"][-1]


def test_the_official_client_reads_the_result_by_handle_and_by_id(story):
    assert story["result"]["video"]["content_type"] == "video/mp4"
    assert story["result_by_id"] == story["result"]


def test_the_official_client_gets_the_weights_of_a_training(served, story):
    weights = story["trained"]["diffusers_lora_file"]

    assert weights["file_name"] == "pytorch_lora_weights.safetensors"
    assert metadata_of(served.http.get(weights["url"]).content)["trigger_word"] == "ohwx"


def test_the_official_client_cancels_a_waiting_job_and_no_finished_one(story):
    assert story["waiting"] == ["Queued", {"position": 0}]
    kind, cancelled = story["cancelled"]
    assert (kind, cancelled["error_type"]) == ("Completed", "client_cancelled")
    assert story["late_cancel"] == [400, {"status": "ALREADY_COMPLETED"}]


def test_the_official_client_sees_a_refused_prompt_as_an_error(story):
    status, body = story["refused"]

    assert status == 422
    assert body["detail"][0]["type"] == "content_policy_violation"


def test_the_official_client_calls_only_known_endpoints(story):
    answers = {request["answered"] for request in story["asked"]}

    # 400: the late cancellation; 422: the refused prompt.
    assert answers == {200, 202, 400, 422}
