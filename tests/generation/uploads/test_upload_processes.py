"""A picture's way through real processes: the phone, the web, the workers, a provider, the beat."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import requests

from generation.models import JobStatus, Upload
from tests.helpers import pictures
from tests.helpers.job_driver import assert_completed, ended, submissions
from tests.helpers.wait import wait_for

pytestmark = pytest.mark.usefixtures("committed")
SORA_FROM_PICTURE = "00000000-0000-4000-8000-000000000004"


def send(running, phone, content):
    return requests.post(
        f"{running.url}/v1/upload-image",
        files={"file": ("IMG_0001.HEIC", content)},
        headers=phone._headers(),
        timeout=30,
    )


def test_a_picture_becomes_a_video_and_goes_with_it(running, sandbox):
    sandbox.provider(queue_seconds=0.1, run_seconds=0.1)
    phone = running.phone()
    picture = send(running, phone, pictures.heic()).json()
    asked = {"model_id": SORA_FROM_PICTURE, "upload_id": picture["upload_id"]}

    job_id = phone.generate(**asked).json()["job_id"]

    job = ended(job_id)[job_id]
    assert_completed(job)
    # The provider fetches it without any session of ours.
    fetched = requests.get(submissions(sandbox)[-1]["body"]["image_url"], timeout=30)
    assert (fetched.status_code, fetched.content[:3]) == (200, b"\xff\xd8\xff")
    Upload.objects.filter(id=picture["upload_id"]).update(expires_at=job.created_at)
    phone.post("delete-video-job", {"job_id": job_id})
    wait_for(lambda: requests.get(picture["image_url"], timeout=30).status_code == 404)
    assert job.status == JobStatus.COMPLETED


def test_a_picture_that_is_too_large_is_refused_before_it_is_sent(running):
    phone = running.phone()
    target = urlsplit(running.url)
    head = "\r\n".join(
        [
            "POST /v1/upload-image HTTP/1.1",
            f"Host: {target.netloc}",
            *[f"{name}: {value}" for name, value in phone._headers().items()],
            f"Content-Type: multipart/form-data; boundary={uuid4()}",
            "Content-Length: 11000000",
            "\r\n",
        ]
    )

    with socket.create_connection((target.hostname, target.port), timeout=30) as connection:
        connection.sendall(head.encode() + b"the beginning of eleven megabytes")
        answer = connection.recv(65536)

    assert answer.startswith(b"HTTP/1.1 413 ")
