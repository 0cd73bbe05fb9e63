"""Every file that a phone downloads says that AI made it."""

from __future__ import annotations

from io import BytesIO

import av
import pytest
from PIL import Image

from generation.lifecycle import poll, store
from generation.models import GenerationModel, Job, ProviderRoute
from generation.video_files import mp4_boxes, playability, process
from generation.video_files.playability import RequiredChange
from rendio.common.signing_identity import parse
from tests.generation.test_lifecycle_failures import HANDLE, own_fal, sold_model
from tests.generation.uploads.conftest import storage
from tests.helpers.content_credentials import (
    active_manifest,
    certificate_and_key,
    read_credentials,
    with_credentials,
)
from tests.helpers.job_driver import StubServer, assert_completed, create_job
from tests.helpers.model_ids import VEO
from tests.helpers.phone import assert_refused
from tests.helpers.tiny_films import film, picture

__all__ = ["own_fal", "sold_model", "storage"]  # fixtures

pytestmark = pytest.mark.usefixtures("storage")

# IPTC's own name of the property, and its value for what a model has made.
MARK = (
    "<Iptc4xmpExt:DigitalSourceType>"
    "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    "</Iptc4xmpExt:DigitalSourceType>"
)
OTHER_XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF>its author</rdf:RDF></x:xmpmeta>"


@pytest.fixture
def delivered(phone, own_fal, life):
    """Order a job for which fal makes these bytes. Returns what the phone downloads: the file and
    its thumbnail."""

    def delivered(content: bytes, *, kind: str = "video") -> tuple[bytes, bytes]:
        file = {"url": f"{own_fal.url}/file"}
        own_fal.say(200, HANDLE).say(200, {"status": "COMPLETED"})
        own_fal.say(200, {"video": file} if kind == "video" else {"images": [file]})
        own_fal.say(200, content)
        job = create_job(phone)
        if kind == "image":
            life.submit()
            Job.objects.filter(id=job.id).update(queue="medium")
            poll.poll_due(queue="medium", now=life.advance(5).now)
            store.store_due(queue="medium", now=life.advance(5).now)
        else:
            life.run_until_done(job)
        assert_completed(job)
        return downloads(phone, job)

    return delivered


def downloads(phone, job) -> tuple[bytes, bytes]:
    status = phone.get("get-video-status", job_id=job.id).json()
    urls = file_url(status), status["thumbnail_url"]
    file, thumbnail = (content_of(download(phone, url)) for url in urls)
    return file, thumbnail


def file_url(status) -> str:
    return status["video_url"] or status["images"][0]["image_url"]


def download(phone, url, **headers):
    return phone.client.get("/media/" + url.rpartition("/")[2], headers=headers)


def content_of(answer) -> bytes:
    content = b"".join(answer.streaming_content)
    assert int(answer.headers["Content-Length"]) == len(content)
    return content


def xmp_of_image(content: bytes) -> str:
    with Image.open(BytesIO(content)) as image:
        image.load()
        return image.info["xmp"].decode()


def xmp_of_video(content: bytes) -> str:
    with av.open(BytesIO(content), format="mp4", options={"export_xmp": "1"}) as container:
        assert len(list(container.decode(video=0))) > 1
        return container.metadata.get("xmp", "")


def assert_playable(content: bytes, folder) -> None:
    (folder / "downloaded").write_bytes(content)
    report = process.probe(folder / "downloaded", folder, kind="video")
    assert playability.required_change(report) == RequiredChange.NONE


@pytest.mark.parametrize("outcome", ["ok", "media_mistagged", "media_unplayable"])
def test_a_video_and_its_thumbnail_are_marked_and_the_video_plays(
    phone, instant_provider, life, tmp_path, outcome
):
    instant_provider.provider(outcome=outcome)
    job = create_job(phone)
    life.run_until_done(job)

    video, thumbnail = downloads(phone, job)

    assert MARK in xmp_of_video(video)
    assert MARK in xmp_of_image(thumbnail)
    assert_playable(video, tmp_path)


def test_a_range_and_an_etag_are_those_of_the_marked_file(phone, instant_provider, life):
    job = create_job(phone)
    life.run_until_done(job)
    url = phone.get("get-video-status", job_id=job.id).json()["video_url"]
    whole = download(phone, url)
    video = content_of(whole)
    mark_at = video.index(b"<?xpacket begin")

    part = download(phone, url, Range=f"bytes={mark_at}-", If_Range=whole.headers["ETag"])

    assert (part.status_code, content_of(part)) == (206, video[mark_at:])
    assert part.headers["Content-Range"] == f"bytes {mark_at}-{len(video) - 1}/{len(video)}"
    assert MARK.encode() in video[mark_at:]


def test_only_the_mark_is_added_to_a_video_that_plays(delivered):
    made = film()

    video, _ = delivered(made)

    assert video.startswith(made)
    assert video[len(made) + 4 : len(made) + 8] == b"uuid"
    assert len(video) - len(made) < 1000


def encoded(image: Image.Image, image_format: str) -> bytes:
    content = BytesIO()
    image.save(content, image_format, xmp=OTHER_XMP)
    return content.getvalue()


@pytest.mark.parametrize(
    ("made", "kept"), [("JPEG", "JPEG"), ("PNG", "JPEG"), ("WEBP", "JPEG"), ("PNG RGBA", "JPEG")]
)
def test_an_opaque_image_becomes_a_marked_jpeg(delivered, made, kept):
    image_format, _, mode = made.partition(" ")

    image, thumbnail = delivered(
        encoded(picture().convert(mode or "RGB"), image_format), kind="image"
    )

    assert Image.open(BytesIO(image)).format == kept
    for content in (image, thumbnail):
        assert MARK in xmp_of_image(content)
        assert b"its author" not in content


@pytest.mark.parametrize("image_format", ["PNG", "WEBP"])
def test_a_transparent_image_keeps_its_format_and_is_marked(phone, delivered, image_format):
    transparent = picture().convert("RGBA")
    transparent.paste((0, 0, 0, 0), (0, 0, 40, 40))

    image, thumbnail = delivered(encoded(transparent, image_format), kind="image")

    with Image.open(BytesIO(image)) as kept, Image.open(BytesIO(thumbnail)) as small:
        assert (kept.format, small.format) == (image_format, "JPEG")
        assert kept.convert("RGBA").getpixel((10, 10))[3] == 0
        assert min(small.getpixel((10, 10))) > 240  # white behind it
    assert MARK in xmp_of_image(image)
    assert MARK in xmp_of_image(thumbnail)
    url = file_url(phone.get("get-video-status", job_id=Job.objects.get().id).json())
    assert download(phone, url).headers["Content-Type"] == f"image/{image_format.lower()}"


# --- A supplier's own mark ------------------------------------------------------------------------


def test_a_video_with_content_credentials_is_delivered_as_it_came(delivered, tmp_path):
    made = with_credentials(film(sound="aac"), "video/mp4")

    video, thumbnail = delivered(made)

    assert video == made
    assert read_credentials(video)
    assert_playable(video, tmp_path)
    assert MARK in xmp_of_image(thumbnail)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
def test_an_image_with_content_credentials_is_delivered_as_it_came(delivered, image_format):
    made = with_credentials(encoded(picture(), image_format), f"image/{image_format.lower()}")

    image, thumbnail = delivered(made, kind="image")

    assert image == made
    assert read_credentials(image)
    assert MARK in xmp_of_image(thumbnail)


def test_credentials_of_other_bytes_do_not_replace_our_mark(delivered):
    made = with_credentials(film(), "video/mp4")
    spoilt = made.replace(b"Lavf", b"Lavx")
    assert spoilt != made

    video, _ = delivered(spoilt)

    assert video.startswith(spoilt)
    assert MARK in xmp_of_video(video)


def test_a_video_whose_tag_is_wrong_is_converted_and_its_credentials_stay_in_the_original(
    phone, delivered, storage
):
    made = with_credentials(film("libx265", tag="hev1"), "video/mp4")

    video, _ = delivered(made)

    assert MARK in xmp_of_video(video)
    with av.open(BytesIO(video)) as container:
        assert container.streams.video[0].codec_context.codec_tag == "hvc1"
    assert storage.read(Job.objects.get().original_name) == made


def test_a_video_that_says_so_in_its_own_xmp_is_delivered_as_it_came(delivered, tmp_path):
    path = tmp_path / "film.mp4"
    path.write_bytes(film())
    mp4_boxes.append_xmp(path, MARK.encode())

    video, _ = delivered(path.read_bytes())

    assert video == path.read_bytes()


def with_other_xmp(folder) -> bytes:
    path = folder / "film.mp4"
    path.write_bytes(film())
    mp4_boxes.append_xmp(path, OTHER_XMP)
    return path.read_bytes()


@pytest.mark.parametrize("oddity", ["other XMP", "open end", "rest"])
def test_a_video_to_which_no_mark_can_be_appended_is_written_anew(
    delivered, storage, tmp_path, oddity
):
    made = {
        "other XMP": with_other_xmp(tmp_path),
        "open end": film()[:-4] + b"free" + bytes(4) + b"free" + bytes(8),
        "rest": film() + b"odd",
    }[oddity]

    video, _ = delivered(made)

    assert MARK in xmp_of_video(video)
    job = Job.objects.get()
    assert storage.read(job.original_name) == made
    with av.open(BytesIO(video)) as after, av.open(BytesIO(made)) as before:
        assert [len(bytes(packet)) for packet in after.demux(video=0)] == [
            len(bytes(packet)) for packet in before.demux(video=0)
        ]


def test_no_address_in_a_file_is_asked_for_its_credentials(delivered, own_fal):
    """XMP may name where a manifest lies, such as on a host of our own network."""
    elsewhere = StubServer()
    remote = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF'
        ' xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
        f' xmlns:dcterms="http://purl.org/dc/terms/" dcterms:provenance="{elsewhere.url}/c2pa"/>'
        "</rdf:RDF></x:xmpmeta>"
    )
    content = BytesIO()
    picture().save(content, "JPEG", xmp=remote.encode())

    image, _ = delivered(content.getvalue(), kind="image")

    elsewhere.close()
    assert elsewhere.asked == []
    assert MARK in xmp_of_image(image)


# --- What the API says ----------------------------------------------------------------------------


def test_every_answer_about_a_job_says_that_ai_makes_it(phone):
    job = create_job(phone)

    status = phone.get("get-video-status", job_id=job.id).json()
    [listed] = phone.get("get-video-jobs").json()["jobs"]

    assert (status["ai_generated"], listed["ai_generated"]) == (True, True)


def test_the_origin_names_provider_and_model_once_the_files_are_there(
    phone, instant_provider, life
):
    job = create_job(phone)
    before = phone.get(f"provenance/{job.id}").json()
    life.run_until_done(job)

    after = phone.get(f"provenance/{job.id}").json()

    assert (before["provider"], before["provider_model"], before["completed_at"]) == (None,) * 3
    assert after["completed_at"]
    assert after == before | {
        "ai_generated": True,
        "digital_source_type": "http://cv.iptc.org/newscodes/digitalsourcetype/"
        "trainedAlgorithmicMedia",
        "model_name": "Sora 2",
        "kind": "text-to-video",
        "provider": "fal",
        "provider_model": "fal-ai/sora-2/text-to-video",
        "completed_at": after["completed_at"],
    }


def test_the_origin_is_that_of_the_route_that_delivered(phone, sandbox, life):
    sandbox.provider(queue_seconds=0, run_seconds=0, webhooks=False)
    sandbox.provider(provider="runway", queue_seconds=0, run_seconds=0)
    sandbox.provider(outcome="error", model="fal-ai/veo3.1")
    job = create_job(phone, model_id=str(VEO))

    life.run_until_done(job)

    assert_completed(job)
    assert [request.provider for request in job.requests.order_by("id")] == ["fal", "runway"]
    assert phone.get(f"provenance/{job.id}").json()["provider"] == "runway"


def test_the_origin_outlives_the_catalogues_rows_and_not_the_job(
    phone, instant_provider, life, sold_model
):
    job = create_job(phone, model_id=str(sold_model.id))
    life.run_until_done(job)
    ProviderRoute.objects.filter(model=sold_model).delete()
    GenerationModel.objects.filter(id=sold_model.id).delete()

    origin = phone.get(f"provenance/{job.id}").json()
    assert (origin["model_name"], origin["provider"], origin["provider_model"]) == (
        None, "fal", None,
    )  # fmt: skip

    assert phone.post("delete-video-job", {"job_id": str(job.id)}).status_code == 200
    assert_refused(phone.get(f"provenance/{job.id}"), 404, "ERR_4007")


# --- Our own Content Credentials ------------------------------------------------------------------


@pytest.fixture
def our_signer(settings):
    """A certificate of ours is configured."""
    settings.C2PA_SIGNER = parse(*certificate_and_key("Rendio's owner"))


def actions_of(content: bytes) -> list[str]:
    assertions = active_manifest(content)["assertions"]
    return [
        action["action"]
        for assertion in assertions
        if assertion["label"].startswith("c2pa.actions")
        for action in assertion["data"]["actions"]
    ]


def issuer_of(content: bytes) -> str:
    return str(active_manifest(content)["signature_info"]["issuer"])


@pytest.mark.usefixtures("our_signer")
def test_a_video_and_its_thumbnail_are_signed_besides(delivered, tmp_path):
    video, thumbnail = delivered(film(sound="aac"))

    for content in (video, thumbnail):
        assert (issuer_of(content), actions_of(content)) == ("Rendio's owner", ["c2pa.created"])
        assert b"trainedAlgorithmicMedia" in content
    assert MARK in xmp_of_video(video)
    assert MARK in xmp_of_image(thumbnail)
    assert_playable(video, tmp_path)


@pytest.mark.usefixtures("our_signer")
def test_an_image_is_signed_besides(delivered):
    for content in delivered(encoded(picture(), "PNG"), kind="image"):
        assert (issuer_of(content), actions_of(content)) == ("Rendio's owner", ["c2pa.created"])
        assert MARK in xmp_of_image(content)


@pytest.mark.usefixtures("our_signer")
def test_a_suppliers_own_file_is_not_signed_again_and_its_thumbnail_names_it(delivered):
    made = with_credentials(film(), "video/mp4")

    video, thumbnail = delivered(made)

    assert video == made
    assert_made_from_the_suppliers(thumbnail)


@pytest.mark.usefixtures("our_signer")
def test_a_converted_video_names_the_suppliers_file_as_its_parent(delivered, tmp_path):
    video, thumbnail = delivered(with_credentials(film("libvpx-vp9"), "video/mp4"))

    assert_made_from_the_suppliers(video)
    assert_made_from_the_suppliers(thumbnail)
    assert MARK in xmp_of_video(video)
    assert_playable(video, tmp_path)


def assert_made_from_the_suppliers(content: bytes) -> None:
    assert issuer_of(content) == "Rendio's owner"
    assert actions_of(content) == ["c2pa.opened", "c2pa.transcoded"]
    [parent] = active_manifest(content)["ingredients"]
    store = read_credentials(content)
    assert store
    made = store["manifests"][parent["active_manifest"]]
    assert (parent["relationship"], made["signature_info"]["issuer"]) == ("parentOf", "A supplier")


def test_a_certificate_that_has_expired_delays_no_delivery(delivered, settings, caplog):
    settings.C2PA_SIGNER = parse(*certificate_and_key("Rendio's owner", days=-1))

    video, thumbnail = delivered(film())

    assert "content_credentials_failed" in caplog.text
    assert read_credentials(video) is None
    assert MARK in xmp_of_video(video)
    assert MARK in xmp_of_image(thumbnail)
