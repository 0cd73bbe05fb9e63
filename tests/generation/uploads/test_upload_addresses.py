"""image_url: our own uploads; with ALLOW_EXTERNAL_IMAGE_URLS what lies elsewhere, fetched by us."""

from __future__ import annotations

from uuid import uuid4

import pytest

from generation import cleanup, media
from generation.models import Job, Upload
from tests.helpers import pictures
from tests.helpers.phone import assert_refused
from tests.helpers.pictures import uploaded

SORA_FROM_PICTURE = "00000000-0000-4000-8000-000000000004"
ELSEWHERE = "https://pictures.example/cat.jpg"


def order(phone, image_url, **options):
    return phone.generate(model_id=SORA_FROM_PICTURE, image_url=image_url, **options)


def problem_of(answer):
    fields = assert_refused(answer, 400, "ERR_4008")["fields"]
    assert list(fields) == ["image_url"]
    return fields["image_url"][0]


@pytest.fixture
def elsewhere(stub_server, storage, settings):
    """A server on the network, whose pictures may be used."""
    settings.ALLOW_EXTERNAL_IMAGE_URLS = True
    return stub_server


# --- Our own --------------------------------------------------------------------------------------


def test_an_address_that_works_no_longer_still_names_its_upload(phone, storage, settings):
    settings.MEDIA_URL_TTL_SECONDS = -1
    picture = uploaded(phone)
    assert phone.client.get(picture["image_url"]).status_code == 403

    answer = order(phone, picture["image_url"])

    assert answer.status_code == 200, answer.content
    assert str(Job.objects.get().upload_id) == picture["upload_id"]


def test_what_is_no_upload_of_ours_is_refused(phone, storage):
    picture = uploaded(phone)
    token = picture["image_url"].rpartition("/")[2]
    foreign = [
        ELSEWHERE,
        f"https://elsewhere.example/media/{token}",
        picture["image_url"][:-2] + "xx",
        picture["image_url"] + "/more",
        media.signed_url("jobs/5f0c1a52-5f2e-4a07-9f0e-0e0c5a1f7b11/video.mp4"),
        media.signed_url("uploads/../secrets.jpg"),
        media.signed_url(f"uploads/{'-' * 36}.jpg"),
        f"file://{storage.folder}/uploads/{picture['upload_id']}.jpg",
        "data:image/png;base64,iVBORw0KGgo=",
    ]
    for url in foreign:
        assert problem_of(order(phone, url)) == "Must be the image_url of an uploaded image."
    for nonsense in (7, True, ["x"], {"a": 1}, "https://x.example/" + "a" * 2000):
        assert problem_of(order(phone, nonsense)) == "Must be a URL."
    for nothing in (None, ""):
        assert problem_of(order(phone, nothing)) == "This model needs an image."
    assert phone.balance() == 10


def test_a_picture_is_ignored_by_a_model_that_takes_none(phone):
    answer = phone.generate(image_url="http://anything", upload_id="anything")

    assert answer.status_code == 200, answer.content
    assert Job.objects.get().upload_id is None


# --- Elsewhere ------------------------------------------------------------------------------------


def test_a_picture_from_elsewhere_becomes_an_upload_of_the_caller(phone, elsewhere, storage, life):
    elsewhere.say(200, pictures.talkative())

    answer = order(phone, f"{elsewhere.url}/cat.jpg")

    assert answer.status_code == 200, answer.content
    upload = Upload.objects.get()
    assert (upload.user_id, Job.objects.get().upload_id) == (phone.user_id, upload.id)
    assert b"Secret" not in storage.read(upload.name)
    assert [path for _, path, _ in elsewhere.asked] == ["/cat.jpg"]


def test_a_picture_behind_a_redirect_is_fetched(phone, elsewhere):
    elsewhere.say(302, b"", Location="/moved/cat.jpg").say(200, pictures.jpeg())

    assert order(phone, f"{elsewhere.url}/cat.jpg").status_code == 200

    assert [path for _, path, _ in elsewhere.asked] == ["/cat.jpg", "/moved/cat.jpg"]


def test_a_replay_fetches_nothing_again(phone, elsewhere):
    elsewhere.say(200, pictures.jpeg())
    key = str(uuid4())
    first = order(phone, f"{elsewhere.url}/cat.jpg", key=key)

    again = order(phone, f"{elsewhere.url}/cat.jpg", key=key)

    assert (again.status_code, again.json()) == (200, first.json())
    assert again.headers["X-Idempotent-Replay"] == "true"
    assert len(elsewhere.asked) == 1
    assert phone.balance() == 6


def test_a_quote_fetches_nothing(phone, elsewhere):
    body = {"model_id": SORA_FROM_PICTURE, "prompt": "Waves", "image_url": f"{elsewhere.url}/a"}

    assert phone.post("quote-video", body).json()["credits"] == 4

    assert elsewhere.asked == []


def test_what_cannot_be_had_is_said_and_costs_nothing(phone, elsewhere, settings, closed_port):
    settings.MAX_UPLOAD_BYTES = 5_000
    url = f"{elsewhere.url}/cat.jpg"
    inside = f"{elsewhere.url}/nothing"
    for status, body, headers in [
        (404, pictures.jpeg(), {}),
        (500, b"", {}),
        (206, pictures.jpeg(), {}),
        (301, b"", {"Location": inside}),
        (302, b"", {"Location": "ftp://elsewhere.example/cat.jpg"}),
    ]:
        elsewhere.say(status, body, **headers)
        assert problem_of(order(phone, url)) == "Could not be fetched."
    elsewhere.say(200, pictures.jpeg() + bytes(5_000))
    assert problem_of(order(phone, url)) == "Too large."
    assert problem_of(order(phone, f"http://127.0.0.1:{closed_port}/")) == "Could not be fetched."
    for body in (b"", b"<svg/>", pictures.jpeg() + pictures.zipped(), pictures.several("WEBP")):
        elsewhere.say(200, body, **{"Content-Type": "image/jpeg"})
        assert_refused(order(phone, url), 400, "ERR_4017")

    assert phone.balance() == 10
    assert not Upload.objects.exists()


def test_what_was_fetched_for_an_order_that_failed_goes_soon(phone, elsewhere, storage, life):
    phone.generate(settings={"duration": 8})
    elsewhere.say(200, pictures.jpeg())
    assert_refused(order(phone, f"{elsewhere.url}/cat.jpg"), 402, "ERR_4001")

    cleanup.delete_due_files(now=life.advance(600).now)

    assert storage.names() == []


NOT_FOR_US = [
    "http://pictures.example/cat.jpg",
    "ftp://pictures.example/cat.jpg",
    "javascript:alert(1)",
    "cat.jpg",
    "//pictures.example/cat.jpg",
    "https://",
    "https:///cat.jpg",
    "https://[::1",
    "https://user:pass@pictures.example/",
    "https://:pass@pictures.example/",
    "https://pictures.example:8080/",
    "https://pictures.example:99999/",
    "https://pict ures.example/",
    "https://evil.example\\.pictures.example/",
    "https://pictures.example/\n",
]
# Each leads to this machine, its network or a cloud's metadata, once it is connected to.
INSIDE = [
    "https://127.0.0.1/",
    "https://localhost/",
    "https://127.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0177.0.0.1/",
    "https://0.0.0.0/",
    "https://10.0.0.1/",
    "https://172.16.0.1/",
    "https://192.168.1.1/",
    "https://100.64.0.1/",
    "https://169.254.169.254/latest/meta-data/",
    "https://[::1]/",
    "https://[::]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[fe80::1]/",
    "https://[fd00:ec2::254]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[2002:7f00:1::]/",
    "https://224.0.0.1/",
    "https://nowhere.invalid/",
]


@pytest.mark.parametrize(
    ("urls", "problem"),
    [(NOT_FOR_US, "Must be an https URL."), (INSIDE, "Could not be fetched.")],
    ids=["no address for us", "inside"],
)
def test_production_asks_public_addresses_by_https_and_nobody_else(
    phone, elsewhere, settings, urls, problem
):
    settings.ALLOW_PRIVATE_ADDRESSES = False
    for url in urls:
        assert problem_of(order(phone, url)) == problem, url
    assert phone.balance() == 10
    assert not Upload.objects.exists()
