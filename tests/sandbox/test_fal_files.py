import io
from concurrent.futures import ThreadPoolExecutor

import av
import pytest
from PIL import Image


def video_of(sandbox, model="fal-ai/veo3.1", **arguments):
    job = sandbox.submitted(model=model, body={"prompt": "A cat on a windowsill", **arguments})
    answer = sandbox.result(job)
    assert answer.status_code == 200, answer.text
    video = answer.json()["video"]
    return video, sandbox.http.get(video["url"])


@pytest.mark.parametrize(
    ("arguments", "seconds", "size"),
    [
        ({"duration": 4, "aspect_ratio": "9:16"}, 4, (180, 320)),
        ({"duration": "8s", "aspect_ratio": "16:9"}, 8, (320, 180)),
        ({"duration": "6s", "aspect_ratio": "1:1", "resolution": "1080p"}, 6, (180, 180)),
        ({"duration": 12, "aspect_ratio": "auto"}, 12, (320, 180)),
        ({}, 5, (320, 180)),
    ],
)
def test_a_video_has_the_requested_duration_and_aspect_ratio(sandbox, arguments, seconds, size):
    video, answer = video_of(sandbox, **arguments)

    with av.open(io.BytesIO(answer.content)) as container:
        (stream,) = container.streams
        frames = sum(1 for _ in container.decode(stream))
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert (stream.width, stream.height) == size
        assert container.duration / av.time_base == seconds
    assert answer.headers["content-type"] == video["content_type"] == "video/mp4"
    assert len(answer.content) == video["file_size"]
    assert (video["width"], video["height"], video["duration"]) == (*size, seconds)
    assert video["num_frames"] == frames == video["fps"] * seconds


def test_a_video_can_be_played_while_it_downloads(sandbox):
    _, answer = video_of(sandbox)

    assert 0 < answer.content.index(b"moov") < answer.content.index(b"mdat")


def test_the_prompt_is_drawn_into_the_video(sandbox):
    _, said = video_of(sandbox, duration=1)
    job = sandbox.submitted(model="fal-ai/veo3.1", body={"prompt": "", "duration": 1})
    silent = sandbox.http.get(sandbox.result(job).json()["video"]["url"])

    assert _white_pixels(said.content) > 200
    assert _white_pixels(silent.content) == 0


def _white_pixels(content):
    with av.open(io.BytesIO(content)) as container:
        image = next(container.decode(video=0)).to_image().convert("L")
    return sum(image.histogram()[220:])


def test_sora_also_names_its_video(sandbox):
    answer = sandbox.result(sandbox.submitted(model="fal-ai/sora-2/text-to-video"))

    assert answer.json()["video_id"].startswith("video_")


def test_twenty_videos_at_once_are_all_made(sandbox):
    bodies = [{**sandbox.VIDEO, "prompt": f"Cat number {number}"} for number in range(20)]

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda body: sandbox.result(sandbox.submitted(body=body)), bodies))

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["video"]["url"] for answer in answers}) == 20


@pytest.mark.parametrize("duration", ["", "4 seconds", 0, 61, True, None, 4.5])
def test_an_unsupported_duration_is_refused(sandbox, duration):
    result = sandbox.result(sandbox.submitted(body={**sandbox.VIDEO, "duration": duration}))

    assert result.status_code == 422
    assert result.json()["detail"][0]["loc"] == ["body", "duration"]


@pytest.mark.parametrize("ratio", ["", "16x9", "0:1", "9:1", 1.5])
def test_an_unsupported_aspect_ratio_is_refused(sandbox, ratio):
    result = sandbox.result(sandbox.submitted(body={**sandbox.VIDEO, "aspect_ratio": ratio}))

    assert result.status_code == 422
    assert result.json()["detail"][0]["loc"] == ["body", "aspect_ratio"]


@pytest.mark.parametrize(
    ("model", "arguments", "size"),
    [
        ("fal-ai/flux/dev", {"image_size": "portrait_16_9"}, (576, 1024)),
        (
            "fal-ai/recraft/v3/text-to-image",
            {"image_size": {"width": 512, "height": 320}},
            (512, 320),
        ),
        ("fal-ai/imagen4/preview", {"aspect_ratio": "9:16"}, (576, 1024)),
        ("fal-ai/nano-banana-pro", {"aspect_ratio": "1:1", "resolution": "2K"}, (2048, 2048)),
        ("someone/own/text-to-image", {}, (1024, 576)),
    ],
)
def test_an_image_model_makes_jpegs(sandbox, model, arguments, size):
    job = sandbox.submitted(
        model=model, body={"prompt": "A cat", "num_images": 2, "seed": 7, **arguments}
    )

    result = sandbox.result(job).json()

    assert (result["seed"], result["prompt"]) == (7, "A cat")
    assert len(result["images"]) == 2
    for described in result["images"]:
        answer = sandbox.http.get(described["url"])
        image = Image.open(io.BytesIO(answer.content))
        assert answer.headers["content-type"] == described["content_type"] == "image/jpeg"
        assert image.format == "JPEG"
        assert image.size == (described["width"], described["height"]) == size


@pytest.mark.parametrize("model", ["fal-ai/veo3.1/image-to-video", "fal-ai/flux-video/dev"])
def test_a_video_model_makes_videos(sandbox, model):
    assert "video" in sandbox.result(sandbox.submitted(model=model)).json()


@pytest.fixture
def video(sandbox):
    return video_of(sandbox, duration=1)


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("bytes=0-0", slice(0, 1)),
        ("bytes=0-99", slice(0, 100)),
        ("bytes=100-", slice(100, None)),
        ("bytes=-50", slice(-50, None)),
        ("bytes=10-99999999", slice(10, None)),
        ("bytes=-99999999", slice(0, None)),
    ],
)
def test_a_byte_range_returns_that_part_of_the_file(sandbox, video, asked, part):
    described, whole = video

    answer = sandbox.http.get(described["url"], headers={"Range": asked})

    expected = whole.content[part]
    start = whole.content.index(expected)
    assert answer.status_code == 206
    assert answer.content == expected
    assert answer.headers["content-range"] == (
        f"bytes {start}-{start + len(expected) - 1}/{described['file_size']}"
    )


@pytest.mark.parametrize("asked", ["bytes=99999999-", "bytes=-0"])
def test_a_byte_range_beyond_the_file_is_refused(sandbox, video, asked):
    described, _ = video

    answer = sandbox.http.get(described["url"], headers={"Range": asked})

    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{described['file_size']}"


@pytest.mark.parametrize("asked", ["bytes=5-2", "bytes=0-1,4-5", "lines=1-2", "bytes=-"])
def test_other_range_headers_return_the_whole_file(sandbox, video, asked):
    described, whole = video

    answer = sandbox.http.get(described["url"], headers={"Range": asked})

    assert answer.status_code == 200
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.content == whole.content


def test_files_need_no_key_and_end_with_a_reset(sandbox, video):
    described, whole = video
    assert whole.status_code == 200

    sandbox.control("reset")

    assert sandbox.http.get(described["url"]).status_code == 404
