"""What our workers on rented GPUs do with a job, wherever they run: make the video and upload it.

A result is `{"files": [url, …]}` or `{"error": text}`. The error of an input that cannot be made
begins with `invalid_input:`. Nothing is raised: the hosts would add the traceback and their own
names to it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

# Width and height, by aspect ratio and resolution.
SIZES = {("16:9", "720p"): (1280, 704), ("9:16", "720p"): (704, 1280)}
MAX_PROMPT_LENGTH = 5000
# How long the address of an upload works. Rendio fetches it within minutes.
ADDRESS_SECONDS = 24 * 3600


class InvalidInput(Exception):
    """The message names the field. It is for Rendio's staff."""


@dataclass(frozen=True)
class VideoOrder:
    prompt: str
    width: int
    height: int


class VideoModel(Protocol):
    def make(self, order: VideoOrder, path: Path, report: Callable[[int], None]) -> None:
        """Write an MP4. `report` takes the progress in percent."""


def run(
    arguments: Mapping[str, Any],
    *,
    name: str,
    model: VideoModel,
    report: Callable[[int], None],
    upload: Callable[[Path, str], str],
) -> dict[str, Any]:
    """Make one video. `name` is the job's id; `upload` stores a file under a name and returns its
    address."""
    try:
        order = parse(arguments)
        with TemporaryDirectory() as folder:
            path = Path(folder) / "video.mp4"
            model.make(order, path, report)
            return {"files": [upload(path, f"gpu/{name}.mp4")]}
    except InvalidInput as problem:
        return {"error": f"invalid_input: {problem}"}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def parse(arguments: Mapping[str, Any]) -> VideoOrder:
    """Raises InvalidInput."""
    prompt = arguments.get("prompt")
    if not isinstance(prompt, str) or not 0 < len(prompt) <= MAX_PROMPT_LENGTH:
        raise InvalidInput(f"prompt must be a text of 1 to {MAX_PROMPT_LENGTH} characters")
    ratio, resolution = arguments.get("aspect_ratio", "16:9"), arguments.get("resolution", "720p")
    size = SIZES.get((str(ratio), str(resolution)))
    if size is None:
        raise InvalidInput(f"no size for {ratio} and {resolution}")
    return VideoOrder(prompt, *size)


def upload_to_bucket(path: Path, name: str) -> str:
    """Upload to the bucket of the environment, and return a signed address."""
    import boto3

    client = boto3.client("s3", endpoint_url=os.environ.get("RESULTS_S3_ENDPOINT_URL"))
    bucket = os.environ["RESULTS_BUCKET"]
    client.upload_file(str(path), bucket, name, ExtraArgs={"ContentType": "video/mp4"})
    address: str = client.generate_presigned_url(
        "get_object", Params={"Bucket": bucket, "Key": name}, ExpiresIn=ADDRESS_SECONDS
    )
    return address
