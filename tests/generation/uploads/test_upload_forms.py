"""upload-image as a form: its size, its parts, and whatever else is sent there."""

from __future__ import annotations

import base64
import json
from io import BytesIO

import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from generation.models import FileDeletion, Upload
from tests.helpers import pictures
from tests.helpers.phone import Phone, assert_refused
from tests.helpers.pictures import upload

LIMIT = 10_000_000
TYPE = "multipart/form-data; boundary=edge"


def form(content: bytes, *, name: bytes = b"file", more: bytes = b"") -> bytes:
    return (
        b'--edge\r\nContent-Disposition: form-data; name="%s"; filename="a.jpg"\r\n%s\r\n'
        % (name, more)
        + content
        + b"\r\n--edge--\r\n"
    )


def padded(size: int) -> bytes:
    """A sound picture of exactly so many bytes."""
    picture = pictures.jpeg()
    return picture + bytes(size - len(picture))


@pytest.fixture
def post(phone, storage):
    client = Client(raise_request_exception=False)

    def send(body: bytes, content_type: str = TYPE, path: str = "upload-image", **environment):
        return client.generic(
            "POST",
            f"/v1/{path}",
            body,
            content_type=content_type,
            headers=phone._headers(),
            **environment,
        )

    return send


class Counted(BytesIO):
    """A body that knows how much of it was taken."""

    taken = 0

    @property
    def environment(self):
        length = str(len(self.getvalue()))
        return {"wsgi.input": self, "CONTENT_TYPE": TYPE, "CONTENT_LENGTH": length}

    def read(self, size=-1):
        content = super().read(size)
        self.taken += len(content)
        return content


def test_ten_megabytes_are_taken_and_a_byte_more_is_413(phone, storage):
    assert upload(phone, padded(LIMIT)).status_code == 201
    Upload.objects.all().delete()

    assert_refused(upload(phone, padded(LIMIT + 1)), 413, "ERR_4008")

    assert not Upload.objects.exists()
    assert not FileDeletion.objects.exists()


def test_what_says_that_it_is_too_large_is_refused_unread(post):
    body = Counted(form(padded(11_000_000)))

    assert_refused(post(b"", **body.environment), 413, "ERR_4008")

    assert body.taken == 0


def test_a_file_is_read_no_further_than_it_may_be_long(post, settings):
    settings.MAX_UPLOAD_BYTES = 100_000
    body = Counted(form(padded(160_000)))

    assert_refused(post(b"", **body.environment), 413, "ERR_4008")

    # Django reads in pieces of 64 KiB.
    assert body.taken <= 131_072 < len(body.getvalue())


def test_the_file_is_the_one_called_file_and_the_first(post):
    both = form(pictures.jpeg())[: -len(b"--edge--\r\n")] + form(b"not a picture")
    assert post(both).status_code == 201

    other = post(form(pictures.jpeg(), name=b"picture"))

    assert list(assert_refused(other, 400, "ERR_4008")["fields"]) == ["file"]


def test_a_file_in_base64_is_understood(post):
    body = form(base64.b64encode(pictures.jpeg()), more=b"Content-Transfer-Encoding: base64\r\n")

    assert post(body).status_code == 201


def test_older_clients_say_who_they_are_in_the_form(post, phone):
    def said(user_id):
        field = b'--edge\r\nContent-Disposition: form-data; name="user_id"\r\n\r\n%s\r\n'
        return field % str(user_id).encode() + form(pictures.jpeg())

    assert_refused(post(said("5f0c1a52-5f2e-4a07-9f0e-0e0c5a1f7b11")), 403, "ERR_4006")

    assert post(said(phone.user_id)).status_code == 201


NO_FORM = {
    "nothing": (b"", TYPE, 400),
    "an empty form": (b"--edge--\r\n", TYPE, 400),
    "a field and no file": (form(pictures.jpeg()).replace(b'; filename="a.jpg"', b""), TYPE, 400),
    "a file without a name": (form(pictures.jpeg()).replace(b"a.jpg", b""), TYPE, 400),
    "no boundary": (form(pictures.jpeg()), "multipart/form-data", 400),
    "a boundary of 300 letters": (b"", TYPE + "x" * 300, 400),
    "two megabytes in a field": (
        form(bytes(2_000_000)).replace(b'; filename="a.jpg"', b""), TYPE, 413),
    "2,000 fields": (
        b'--edge\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n' * 2_000, TYPE, 400),
    "json": (json.dumps({"file": "x"}).encode(), "application/json", 415),
    "the bare picture": (pictures.jpeg(), "image/jpeg", 415),
    "an urlencoded form": (b"file=x", "application/x-www-form-urlencoded", 415),
    "another kind of multipart": (form(pictures.jpeg()), "multipart/mixed; boundary=edge", 415),
}  # fmt: skip


@pytest.mark.parametrize("kind", NO_FORM)
def test_what_is_no_form_with_a_file_is_named_so(post, storage, kind):
    body, content_type, status = NO_FORM[kind]

    assert_refused(post(body, content_type), status, "ERR_4008")

    assert storage.names() == []
    assert post(form(pictures.jpeg())).status_code == 201


@pytest.mark.parametrize("charset", ["utf-16", "rot13", "no-such-thing", "base64", "utf-7"])
def test_a_charset_does_no_harm(post, charset):
    assert post(form(pictures.jpeg()), f"{TYPE}; charset={charset}").status_code == 201


HEADERS = st.sampled_from([
    b'Content-Disposition: form-data; name="file"; filename="a"',
    b'Content-Disposition: form-data; name="file"',
    b"Content-Disposition: form-data; name*=utf-8''f%69le; filename*=latin-1''%e9",
    b"Content-Disposition: form-data; name*=x''%ff; filename*=rot13''%41",
    b'Content-Disposition: attachment; filename="\xff\x00"',
    b"Content-Type: image/jpeg; charset=rot13",
    b"Content-Type: multipart/mixed; boundary=edge",
    b"Content-Transfer-Encoding: base64",
    b"Content-Length: -1",
])  # fmt: skip
PIECES = st.one_of(
    HEADERS,
    st.sampled_from([b"--edge", b"--edge--", b"\r\n", b"\n", b"\r\n\r\n", pictures.png()]),
    st.binary(max_size=30),
)
TYPES = st.one_of(
    st.just(TYPE),
    st.just(TYPE + "; charset=rot13"),
    st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=30).map(
        lambda text: "multipart/form-data; boundary=" + text
    ),
)


@given(pieces=st.lists(PIECES, max_size=20), content_type=TYPES)
@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_no_form_however_odd_is_an_error_of_ours(post, phone: Phone, pieces, content_type):
    before = Upload.objects.count()

    answer = post(b"--edge\r\n" + b"\r\n".join(pieces), content_type)

    assert answer.status_code in {201, 400, 413}, answer.content
    assert Upload.objects.count() - before == (answer.status_code == 201)
    several = post(
        b"--edge\r\n" + b"\r\n".join(pieces).replace(b'"file"', b'"files"'),
        content_type,
        "train/upload",
    )
    assert several.status_code in {201, 400, 413}, several.content
    assert not FileDeletion.objects.exists()


def test_uploads_have_a_limit_of_their_own_counted_before_they_are_read(post, settings):
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"uploads_per_user": (2, 3600)}
    first = post(form(pictures.jpeg()))
    assert (first.status_code, first.headers["X-RateLimit-Remaining"]) == (201, "1")
    assert_refused(post(form(b"not a picture")), 400, "ERR_4017")
    body = Counted(form(pictures.jpeg()))

    third = post(b"", **body.environment)

    assert_refused(third, 429, "ERR_4004")
    assert body.taken == 0


def test_only_who_is_signed_in_sends_pictures(client):
    assert_refused(
        client.post("/v1/upload-image", {"file": BytesIO(pictures.jpeg())}), 401, "ERR_4005"
    )
