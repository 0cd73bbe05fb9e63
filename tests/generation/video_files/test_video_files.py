"""Which films iPhones play, and what is done to those that they do not: a matrix of real files."""

from __future__ import annotations

import os
from io import BytesIO
from itertools import product

import av
import pytest
from PIL import Image

from generation.video_files import mp4_boxes, playability, process
from generation.video_files.convert import convert as write_anew
from generation.video_files.media_info import MediaInfo, SourceType, UnusableFile, VideoInfo
from generation.video_files.playability import RequiredChange
from generation.video_files.probe import probe as read
from generation.video_files.process import ProcessFailed, convert, probe
from rendio.common.signing_identity import parse
from tests.helpers import fork_server
from tests.helpers.content_credentials import active_manifest, certificate_and_key
from tests.helpers.tiny_films import colours, film, picture

# By encoder and pixel format: what is done where container, tag and sound are as they should be.
STREAMS = {
    ("libx264", "yuv420p"): RequiredChange.NONE,
    ("libx264", "yuv422p"): RequiredChange.CONVERT,
    ("libx264", "yuv444p"): RequiredChange.CONVERT,
    ("libx264", "yuv420p10le"): RequiredChange.CONVERT,
    ("libx265", "yuv420p"): RequiredChange.NONE,
    ("libx265", "yuv420p10le"): RequiredChange.NONE,
    ("libx265", "yuv444p"): RequiredChange.CONVERT,
    ("libvpx-vp9", "yuv420p"): RequiredChange.CONVERT,
    ("libsvtav1", "yuv420p"): RequiredChange.CONVERT,
    ("mpeg4", "yuv420p"): RequiredChange.CONVERT,
}
TAGS = {"libx265": "hvc1"}
# Degrees counterclockwise, and what is seen then.
TURNS = {0: "rrbr", 90: "rbrr", 180: "bbrb", 270: "brbb"}


@pytest.fixture
def seen(tmp_path):
    """What is read of a film's bytes."""

    def seen(content: bytes, *, frame_count: int = 0) -> MediaInfo:
        path = tmp_path / "media"
        path.write_bytes(content)
        return read(path, tmp_path, kind="video", frame_count=frame_count)

    return seen


@pytest.fixture
def made(tmp_path):
    """The bytes of what a film is converted to."""

    def made(content: bytes) -> bytes:
        path = tmp_path / "media"
        path.write_bytes(content)
        write_anew(path, tmp_path / "made.mp4")
        return (tmp_path / "made.mp4").read_bytes()

    return made


MATRIX = [
    (codec, pixels, container, turn)
    for (codec, pixels), container, turn in product(STREAMS, ["mp4", "mov", "matroska"], TURNS)
    # A rotation is the container's, so two codecs show it for all; QuickTime and Matroska have no
    # tags of their own to be wrong.
    if turn == 0 or (codec, pixels) in {("libx264", "yuv420p"), ("libx264", "yuv444p")}
    if not (container == "mov" and codec in {"libvpx-vp9", "libsvtav1"})
]


@pytest.mark.parametrize(("codec", "pixels", "container", "turn"), MATRIX)
def test_every_film_plays_or_is_converted_to_one_that_does(
    seen, made, tmp_path, codec, pixels, container, turn
):
    content = film(
        codec, pixels, container=container, tag=TAGS.get(codec, "") * (container != "matroska"),
        turn=turn, sound="aac",
    )  # fmt: skip
    report = seen(content)

    change = playability.required_change(report)

    assert change == (STREAMS[codec, pixels] if container == "mp4" else RequiredChange.CONVERT)
    assert colours(Image.open(tmp_path / report.thumbnail)) == TURNS[turn]
    if change == RequiredChange.CONVERT:
        converted = made(content)
        after = seen(converted)
        assert playability.required_change(after) == RequiredChange.NONE
        assert colours(Image.open(tmp_path / after.thumbnail)) == TURNS[turn]
        assert_same_length(content, converted)
        assert converted.index(b"moov") < converted.index(b"mdat")
        is_copied = playability.is_video_playable(report.video) and container == "mov"
        assert after.video.codec == (report.video.codec if is_copied else "h264")


def assert_same_length(content: bytes, converted: bytes) -> None:
    before, after = frames_of(content, "video"), frames_of(converted, "video")
    assert after == pytest.approx(before, abs=0.01)
    assert frames_of(converted, "audio")[-1] == pytest.approx(
        frames_of(content, "audio")[-1], abs=0.1
    )


def frames_of(content: bytes, kind: str) -> list[float]:
    """When each frame is shown, or each piece of sound heard, in seconds."""
    container_format = "matroska" if content[:4] == b"\x1a\x45\xdf\xa3" else "mp4"
    with av.open(BytesIO(content), format=container_format) as container:
        (stream,) = [one for one in container.streams if one.type == kind]
        return [float(frame.pts * frame.time_base) for frame in container.decode(stream)]


@pytest.mark.parametrize(
    ("sound", "container", "change"),
    [
        ("", "mp4", RequiredChange.NONE),
        ("aac", "mp4", RequiredChange.NONE),
        ("libmp3lame", "mp4", RequiredChange.NONE),
        ("ac3", "mp4", RequiredChange.NONE),
        ("libopus", "mp4", RequiredChange.CONVERT),
        ("libopus", "webm", RequiredChange.CONVERT),
        ("pcm_s16le", "mov", RequiredChange.CONVERT),
    ],
)
def test_sound_that_no_iphone_plays_becomes_aac(seen, made, sound, container, change):
    codec = "libvpx-vp9" if container == "webm" else "libx264"
    content = film(codec, container=container, sound=sound)
    report = seen(content)

    assert playability.required_change(report) == change

    if change == RequiredChange.CONVERT:
        converted = made(content)
        assert seen(converted).audio_codec == "aac"
        assert_same_length(content, converted)


@pytest.mark.parametrize(
    ("codec", "tag", "right"), [("libx265", "hev1", "hvc1"), ("libx264", "avc3", "avc1")]
)
@pytest.mark.parametrize("flags", ["", "+faststart", "frag_keyframe+empty_moov"])
def test_a_wrong_tag_is_changed_in_place_and_nothing_else(seen, tmp_path, codec, tag, right, flags):
    content = film(codec, tag=tag, flags=flags, sound="aac")
    report = seen(content)
    assert (report.video.tag, playability.required_change(report)) == (tag, RequiredChange.RETAG)

    mp4_boxes.retag(tmp_path / "media")

    changed = (tmp_path / "media").read_bytes()
    assert changed == content.replace(tag.encode(), right.encode(), 1)
    after = probe(tmp_path / "media", tmp_path, kind="video")
    assert (after.video.tag, playability.required_change(after)) == (right, RequiredChange.NONE)


@pytest.mark.parametrize(
    "content",
    [b"", b"\0\0\0\x08moov", b"\0\0\0\x01moov" + b"\xff" * 8, b"\0\0\0\0moov", film()[:-40]],
)
def test_a_file_without_such_a_tag_is_not_changed(tmp_path, content):
    path = tmp_path / "media"
    path.write_bytes(content)

    with pytest.raises(UnusableFile):
        mp4_boxes.retag(path)

    assert path.read_bytes() == content


def a_video(
    codec: str = "h264", tag: str = "avc1", pixels: str = "yuv420p", **changes
) -> VideoInfo:
    whole = {"width": 64, "height": 64, "has_parameter_sets": True}
    return VideoInfo(codec, tag, pixels, **whole | changes)


@pytest.mark.parametrize(
    ("video", "change"),
    [
        (a_video("hevc", "hev1", has_parameter_sets=False), RequiredChange.CONVERT),
        (a_video("hevc", "dvhe", "yuv420p10le"), RequiredChange.CONVERT),
        (a_video(pixels="yuvj420p"), RequiredChange.NONE),
        (a_video(width=8000, height=4000), RequiredChange.CONVERT),
        (a_video("prores", "apch", "yuv422p10le"), RequiredChange.CONVERT),
        (None, RequiredChange.NONE),
    ],
)
def test_what_the_encoders_here_do_not_make_is_judged_too(video, change):
    assert playability.required_change(MediaInfo("mp4" if video else "image", video)) == change


def test_a_film_with_odd_sides_and_a_changing_pace_is_converted(seen, made):
    content = film("libx264", "yuv444p", size=(97, 65))

    after = seen(made(content))

    assert (after.video.width, after.video.height) == (96, 64)


# --- Files that are none --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "InvalidDataError"),
        (b"<!doctype html>", "InvalidDataError"),
        (film()[:200], "InvalidDataError"),
        (film()[:-300], "EOFError"),
        (film(frames=40, size=(320, 240), flags="+faststart")[:-900], "cut short|InvalidDataError"),
        (film(frames=0), "."),
        (b"RIFF" + bytes(100), "InvalidDataError"),
        (b"#EXTM3U\nfile:///etc/passwd\n", "InvalidDataError"),
        (b"\x1a\x45\xdf\xa3" + bytes(100), "Error"),
    ],
)
def test_what_nobody_could_show_is_unusable(tmp_path, content, why):
    (tmp_path / "media").write_bytes(content)

    with pytest.raises(UnusableFile, match=why):
        probe(tmp_path / "media", tmp_path, kind="video")


def test_pictures_to_judge_by_are_spread_over_a_film(seen, tmp_path):
    report = seen(film(frames=12), frame_count=3)

    assert report.frames == ["0.jpg", "1.jpg", "2.jpg"]
    for name in [report.thumbnail, *report.frames]:
        assert Image.open(tmp_path / name).format == "JPEG"


def test_an_image_is_drawn_anew_upright_and_without_metadata(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    exif[0x010E] = "whose it is"
    picture().save(tmp_path / "media", "JPEG", exif=exif)

    report = probe(tmp_path / "media", tmp_path, kind="image", frame_count=3)

    assert report.frames == ["0.jpg"]
    for name in ("image.jpg", report.thumbnail):
        image = Image.open(tmp_path / name)
        assert (image.size, colours(image)) == ((64, 96), TURNS[270])
        assert not image.getexif()


def test_a_large_image_is_judged_by_a_small_one(tmp_path):
    Image.new("RGB", (2000, 1000), "red").save(tmp_path / "media", "PNG")

    [name] = probe(tmp_path / "media", tmp_path, kind="image", frame_count=3).frames

    with Image.open(tmp_path / name) as image:
        assert (image.format, image.size) == ("JPEG", (768, 384))


# --- The process ----------------------------------------------------------------------------------


@pytest.fixture
def unforked(monkeypatch):
    """A Python process for each file, as in production. Other tests fork it."""
    monkeypatch.setattr(process, "launch", fork_server.launch_decoder)


@pytest.mark.usefixtures("unforked")
def test_a_process_reads_and_converts_a_film(tmp_path):
    (tmp_path / "media").write_bytes(film("libvpx-vp9", sound="libopus", turn=90))

    made = convert(tmp_path / "media", tmp_path)

    report = probe(made, tmp_path, kind="video", frame_count=2)
    assert (report.video.codec, report.audio_codec, report.frames) == (
        "h264",
        "aac",
        ["0.jpg", "1.jpg"],
    )
    assert colours(Image.open(tmp_path / report.thumbnail)) == TURNS[90]


@pytest.mark.usefixtures("unforked")
def test_a_process_that_takes_too_long_is_ended(tmp_path, settings, monkeypatch):
    monkeypatch.setattr(process, "PROBE_TIMEOUT_SECONDS", 1)
    fifo = tmp_path / "media"
    os.mkfifo(fifo)

    with pytest.raises(ProcessFailed, match="ended with -14"):
        probe(fifo, tmp_path, kind="video")


@pytest.mark.usefixtures("unforked")
def test_a_process_that_takes_too_much_memory_ends_alone(tmp_path, settings):
    settings.FILM_MEMORY_MB = 40
    (tmp_path / "media").write_bytes(film())

    with pytest.raises((ProcessFailed, UnusableFile)):
        probe(tmp_path / "media", tmp_path, kind="video")


@pytest.mark.usefixtures("unforked")
def test_a_film_that_becomes_too_large_is_unusable(tmp_path, settings):
    (tmp_path / "media").write_bytes(film("libx264", "yuv444p"))
    settings.MAX_VIDEO_BYTES = 1000

    with pytest.raises((ProcessFailed, UnusableFile)):
        convert(tmp_path / "media", tmp_path)


@pytest.mark.usefixtures("unforked")
def test_a_process_signs_with_our_key(tmp_path):
    (tmp_path / "video.mp4").write_bytes(film())
    signer = parse(*certificate_and_key("Rendio's owner"))

    process.sign(
        tmp_path / "video.mp4",
        tmp_path,
        ["video.mp4"],
        source_type=SourceType.GENERATED,
        signer=signer,
    )

    manifest = active_manifest((tmp_path / "video.mp4").read_bytes())
    assert manifest["signature_info"]["issuer"] == "Rendio's owner"


@pytest.mark.usefixtures("unforked")
def test_the_process_knows_no_secret(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "the key of keys")
    told = []
    monkeypatch.setattr(process.subprocess, "run", lambda *_, env, **__: told.append(env) or 1 / 0)

    with pytest.raises(ZeroDivisionError):
        probe(tmp_path / "media", tmp_path, kind="video")

    assert told == [{"LANG": "C.UTF-8"}]
