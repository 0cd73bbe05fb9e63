"""What is a picture and what is not, by content; and what is kept of one."""

from __future__ import annotations

from io import BytesIO

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from PIL import Image

from generation.errors import InvalidFile
from generation.models import FileDeletion, Upload
from generation.uploads import reencoding
from tests.helpers import pictures
from tests.helpers.phone import assert_refused
from tests.helpers.pictures import SCRIPT, SIZE, upload, uploaded


@pytest.fixture
def drawn(phone, storage):
    """The picture as it is kept once it was sent in."""

    def send(content):
        name = f"uploads/{uploaded(phone, content)['upload_id']}.jpg"
        return Image.open(BytesIO(storage.read(name)))

    return send


def is_near(pixel, colour):
    return all(abs(one - other) < 25 for one, other in zip(pixel, colour, strict=True))


def test_a_picture_is_kept_as_a_jpeg_for_a_day(phone, storage):
    body = uploaded(phone, pictures.heic())

    assert set(body) == {"upload_id", "image_url", "width", "height", "expires_at"}
    assert (body["width"], body["height"]) == SIZE
    row = Upload.objects.get()
    assert (str(row.id), row.user_id) == (body["upload_id"], phone.user_id)
    assert (row.expires_at - row.created_at).total_seconds() == 24 * 3600
    assert storage.names() == [row.name]
    assert not FileDeletion.objects.exists()
    shown = phone.client.get(body["image_url"])
    assert shown.headers["Content-Type"] == "image/jpeg"
    assert b"".join(shown.streaming_content) == storage.read(row.name)


# Made where they are sent: every run of any test reads this module.
SOUND = {
    "jpeg": lambda: pictures.jpeg(),
    "progressive jpeg": lambda: pictures.jpeg(progressive=True),
    "jpeg in four colours": lambda: pictures.saved(pictures.two_halves().convert("CMYK"), "JPEG"),
    "jpeg with another behind it": lambda: pictures.jpeg() + pictures.jpeg(),
    "jpeg padded with zeros": lambda: pictures.jpeg() + bytes(100),
    "jpeg with metadata": lambda: pictures.talkative(),
    "png": lambda: pictures.png(),
    "png in a palette": lambda: pictures.saved(pictures.two_halves().convert("P"), "PNG"),
    "png in 16 bits of grey": lambda: pictures.saved(Image.new("I;16", SIZE, 65535), "PNG"),
    "webp": lambda: pictures.webp(),
    "webp without loss": lambda: pictures.webp(lossless=True),
    "heic": lambda: pictures.heic(),
}


@pytest.mark.parametrize("kind", SOUND)
def test_pictures_of_each_kind_are_taken_whatever_they_are_called(phone, drawn, kind):
    content = SOUND[kind]()

    kept = drawn(content)

    assert (kept.format, kept.mode, kept.size) == ("JPEG", "RGB", SIZE)
    assert upload(phone, content, name="../../etc/passwd.exe").status_code == 201


NO_PICTURE = {
    "nothing": lambda: b"",
    "text": lambda: b"A red balloon",
    "html": lambda: b"<html>" + SCRIPT,
    "svg": lambda: b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
    "svg with a declaration": lambda: (
        b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a "b">]><svg/>'
    ),
    "gif": lambda: pictures.saved(pictures.two_halves(), "GIF"),
    "moving gif": lambda: pictures.several("GIF"),
    "bmp": lambda: pictures.saved(pictures.two_halves(), "BMP"),
    "tiff": lambda: pictures.saved(pictures.two_halves(), "TIFF"),
    "ico": lambda: pictures.saved(pictures.two_halves(), "ICO"),
    "pdf": lambda: pictures.saved(pictures.two_halves(), "PDF"),
    "postscript": lambda: pictures.saved(pictures.two_halves(), "EPS"),
    "avif": lambda: pictures.saved(pictures.two_halves(), "AVIF"),
    "zip": lambda: pictures.zipped(),
    "magic and noise": lambda: b"\xff\xd8\xff\xe0" + bytes(range(256)) * 10,
    "png magic alone": lambda: b"\x89PNG\r\n\x1a\n",
    "webp head alone": lambda: b"RIFF\x04\x00\x00\x00WEBP",
    "heic head alone": lambda: pictures.heic()[:28],
    "png of no width": lambda: pictures.png_of(0, 10),
    "half a jpeg": lambda: pictures.jpeg()[: len(pictures.jpeg()) // 2],
    "half a webp": lambda: pictures.webp()[: len(pictures.webp()) // 2],
    "half a heic": lambda: pictures.heic()[: len(pictures.heic()) // 2],
    "script and jpeg": lambda: SCRIPT + pictures.jpeg(),
    "pdf and jpeg": lambda: b"%PDF-1.7\n" + pictures.jpeg(),
    "gif and jpeg": lambda: b"GIF89a/*" + pictures.jpeg(),
    "heic that says it is small": lambda: pictures.heic_that_lies(),
    "png with 5 MB of text in a few bytes": lambda: pictures.text_bomb(),
}
NOT_WHOLE = {
    "half a png": lambda: pictures.png()[: len(pictures.png()) // 2],
    "png without its end": lambda: pictures.png()[:-12],
    "jpeg without its end": lambda: pictures.jpeg()[:-2],
    "jpeg and zip": lambda: pictures.jpeg() + pictures.zipped(),
    "jpeg and script": lambda: pictures.jpeg() + SCRIPT,
    "jpeg, zeros and script": lambda: pictures.jpeg() + bytes(100) + SCRIPT,
    "two jpegs and script": lambda: pictures.jpeg() + pictures.jpeg() + SCRIPT,
    "png and zip": lambda: pictures.png() + pictures.zipped(),
    "png and script": lambda: pictures.png() + SCRIPT,
    "webp and script": lambda: pictures.webp() + SCRIPT,
    "heic and zip": lambda: pictures.heic() + pictures.zipped(),
    "heic and one byte": lambda: pictures.heic() + b"\0",
    "jpeg of 40 scans": lambda: pictures.jpeg_of_scans(40),
    "jpeg of 20,000 comments": lambda: pictures.jpeg_with(b"\xff\xfe\x00\x02" * 20_000),
    "png of 20,000 chunks": lambda: pictures.png_with(pictures.chunk(b"teXt", b"") * 20_000),
}
MOVING = {"png": lambda: pictures.several("PNG"), "webp": lambda: pictures.several("WEBP")}
TOO_LARGE = {
    "png of 12,000 x 12,000": lambda: pictures.png_of(12_000, 12_000),
    "png of 50 megapixels and a line": lambda: pictures.png_of(10_000, 5_001),
    "png of 2^31 x 2^31": lambda: pictures.png_of(2**31 - 1, 2**31 - 1),
    "jpeg of 65,000 x 65,000": lambda: pictures.jpeg_of(65_000, 65_000),
    "webp of 16,383 x 16,383": lambda: pictures.webp_of_the_largest(),
}
BAD = [
    pytest.param(make, problem, id=kind)
    for problem, files in {
        "not an image, or damaged": NO_PICTURE,
        "incomplete, or with data after the image": NOT_WHOLE,
        "animated": MOVING,
        "too many pixels": TOO_LARGE,
    }.items()
    for kind, make in files.items()
]


@pytest.mark.filterwarnings("error")  # or production's log would have it
@pytest.mark.parametrize(("make", "problem"), BAD)
def test_what_is_no_whole_single_picture_is_refused_and_nothing_kept(phone, storage, make, problem):
    assert assert_refused(upload(phone, make()), 400, "ERR_4017") == {"problem": problem}

    assert storage.names() == []
    assert not Upload.objects.exists()
    assert not FileDeletion.objects.exists()


def test_as_many_pixels_as_allowed_are_taken_and_one_more_is_refused(phone, storage, settings):
    settings.MAX_UPLOAD_PIXELS = SIZE[0] * SIZE[1]
    assert upload(phone).status_code == 201

    settings.MAX_UPLOAD_PIXELS -= 1

    assert_refused(upload(phone), 400, "ERR_4017")


def test_who_would_wait_for_long_is_asked_to_come_again(phone, storage, monkeypatch):
    monkeypatch.setattr(reencoding, "DECODER_WAIT_SECONDS", 0.01)
    with reencoding._decoder_slot:
        refused = upload(phone)

    assert_refused(refused, 503, "ERR_6003")
    assert refused.headers["Retry-After"] == "5"
    assert upload(phone).status_code == 201


def test_nothing_but_the_pixels_survives(drawn, storage):
    kept = drawn(pictures.talkative())

    assert set(kept.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
    assert not kept.getexif()
    (name,) = storage.names()
    for secret in (b"Exif", b"Secret", b"script", b"xmpmeta", b"ICC_PROFILE"):
        assert secret in pictures.talkative()
        assert secret not in storage.read(name)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_upright(drawn, orientation):
    kept = drawn(pictures.turned(orientation))

    assert kept.size == SIZE
    assert is_near(kept.getpixel((5, 24)), pictures.RED)
    assert is_near(kept.getpixel((59, 24)), pictures.BLUE)


def test_colours_of_another_profile_stay_what_they_look_like(drawn):
    kept = drawn(pictures.in_another_profile())

    assert is_near(kept.getpixel((5, 5)), (0, 254, 0))


def test_a_profile_that_is_none_does_no_harm(drawn):
    kept = drawn(pictures.jpeg(icc_profile=b"not a profile"))

    assert is_near(kept.getpixel((5, 5)), pictures.RED)


def test_what_was_transparent_is_white(drawn):
    clear = Image.new("RGBA", SIZE, (255, 0, 0, 0))
    clear.paste((0, 0, 254, 255), (32, 0, *SIZE))
    for content in (
        pictures.saved(clear, "PNG"),
        pictures.saved(clear, "WEBP", lossless=True),
        pictures.saved(clear.quantize(), "PNG"),
    ):
        kept = drawn(content)

        assert is_near(kept.getpixel((5, 24)), (255, 255, 255))
        assert is_near(kept.getpixel((59, 24)), pictures.BLUE)


def test_16_bits_of_grey_keep_their_brightness(drawn):
    grey = pictures.saved(Image.new("I;16", SIZE, 0x8000), "PNG")

    assert is_near(drawn(grey).getpixel((5, 5)), (128, 128, 128))


KINDS = [pictures.jpeg(), pictures.jpeg(progressive=True), pictures.png(), pictures.webp(),
         pictures.heic()]  # fmt: skip


@given(data=st.data(), whole=st.sampled_from(KINDS))
@examples(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_damaged_picture_is_drawn_or_refused_and_nothing_else_happens(data, whole):
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=6))

    try:
        kept = reencoding.reencode(bytes(damaged))
    except InvalidFile:
        return
    assert Image.open(BytesIO(kept.jpeg)).size == (kept.width, kept.height)
