"""`python -m rendio.local journey`: one customer's journey through the API, shown in the terminal.

It speaks HTTP to PUBLIC_URL like a phone, and to the sandbox at SANDBOX_URL only to make the last
job fail, and for its App Store. A guest signs in, asks the price, has a video and an image made and
downloads them; the last job fails, and its credits return. The phone gets a push for each. With
JOURNEY=full the guest then buys credits, trains a model, and has an image made with it. Without
Django, which takes a second to import.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import av
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from rendio.local.data_dir import DataDir
from rendio.local.phone import ApiError, Phone, control_sandbox, read_pushes
from rendio.local.training_images import draw_images
from rendio.local.wait import wait_until

MODEL = "Sora 2"
SECONDS = 4
PROMPT = "A paper boat sails along a rainy street, seen from the gutter"
IMAGE_TIER = "basic"
# For the training.
PACK = "com.rendio.credits.50"
TRAINING_KIND, TRAINING_NAME = "style", "Squares"
# A phone waits for poll_after_seconds; a person at a terminal waits less.
POLL_SECONDS = 0.5
GIVE_UP_SECONDS = 300.0
# A push is sent at once after its wake-up message, otherwise within a few seconds.
PUSHES_SECONDS = 15.0
ENDED = {"completed", "failed", "cancelled"}


@dataclass
class Outcome:
    """One job in the final table."""

    job_id: str
    model: str
    status: dict[str, Any]
    took_seconds: float
    file: Path | None = None

    @property
    def short_id(self) -> str:
        return _short_id(self.job_id)

    @property
    def credits(self) -> str:
        used = str(self.status["credits_used"])
        return f"{used}, refunded" if self.status["refunded"] else used


class Watching(Protocol):
    def show(self, status: dict[str, Any]) -> None: ...


def play_journey() -> int:
    """Returns the exit code of `python -m rendio.local journey`."""
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        # Without a terminal there is no width, and a wrapped path cannot be copied.
        console.width = 120
    try:
        Journey(console).play()
    except ApiError as refusal:
        sys.stderr.write(f"The journey ends here. {refusal}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("The journey was interrupted.\n")
        return 130
    return 0


class Journey:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._public_url = os.environ["PUBLIC_URL"]
        self._sandbox_url = os.environ["SANDBOX_URL"]
        self._phone = Phone(self._public_url)
        self._push_token = uuid4().hex * 2
        self._folder = DataDir.from_environment().root / "journey"

    def play(self) -> None:
        """Raises ApiError if anything differs from the promise."""
        self._say(f"\n[bold]A customer's journey[/bold] against {self._public_url}")
        guest = self._phone.sign_in()
        self._say(f"  signed in as a new guest with {guest['credits_remaining']} credits")
        self._phone.post("register-push-token", {"token": self._push_token, "platform": "ios"})
        before = self._balance()
        model = self._find_model(name=MODEL)
        order = {"model_id": model["id"], "prompt": PROMPT, "settings": {"duration": SECONDS}}
        quote = self._phone.post("quote-video", order)
        self._say(f"  {MODEL}, {SECONDS} seconds: {quote['credits']} credits")

        # Slow enough for a person to see it move.
        control_sandbox(self._sandbox_url, provider="fal", outcome="ok", run_seconds=2, times=1)
        video = self._generate(model, order | {"quote_id": quote["quote_id"]})
        if video.status["status"] != "completed":
            raise ApiError(f"The video was not made: {_error(video.status)}")
        video.file = self._download_video(video)

        painter = self._find_model(kind="text-to-image", tier=IMAGE_TIER)
        self._say(f"  {painter['name']}, an image of the tier {IMAGE_TIER}")
        image = self._generate(painter, {"model_id": painter["id"], "prompt": PROMPT})
        if image.status["status"] != "completed":
            raise ApiError(f"The image was not made: {_error(image.status)}")
        image.file = self._download_image(image)

        control_sandbox(self._sandbox_url, provider="fal", outcome="error", times=1)
        failed = self._generate(model, order)
        if failed.status["status"] != "failed" or not failed.status["refunded"]:
            raise ApiError("The last job should have failed with a refund, but did not.")
        self._say(f"  failed as expected: {_error(failed.status)}")
        self._show_pushes()
        outcomes = [video, image, failed]
        if os.environ.get("JOURNEY") == "full":
            outcomes += self._train(user_id=guest["user_id"])
        self._show_result(outcomes, before=before)

    def _train(self, *, user_id: str) -> list[Outcome]:
        """A training, and an image made with its model."""
        [options] = [
            one for one in self._phone.get("train/options")["kinds"] if one["kind"] == TRAINING_KIND
        ]
        steps = options["steps"][0]
        self._say(f"  training of a {TRAINING_KIND}: {steps['credits']} credits")
        bought = self._phone.buy(self._sandbox_url, PACK, user_id=user_id)
        self._say(f"  bought {PACK}: {bought['credits_remaining']} credits")
        images = draw_images(options["min_pictures"])
        sent = self._phone.upload("train/upload", images, kind=TRAINING_KIND)
        self._say(f"  uploaded {len(images)} images, {sent['usable']} of them usable")
        control_sandbox(self._sandbox_url, provider="fal", outcome="ok", run_seconds=2, times=1)
        body = {
            "set_id": sent["set_id"],
            "name": TRAINING_NAME,
            "kind": TRAINING_KIND,
            "steps": steps["steps"],
        }
        began = time.monotonic()
        started = self._phone.post("train/start", body, idempotency_key=str(uuid4()))
        training_id = str(started["training_id"])
        training = self._watch(
            training_id, options["name"], lambda: self._phone.get(f"train/{training_id}"), began
        )
        if not training.status.get("usable"):
            raise ApiError(f"The model was not trained: {_error(training.status)}")
        self._say(f"  {TRAINING_NAME} is trained; in prompts: {training.status['trigger_word']}")
        order = {"prompt": PROMPT, "trained_model_id": started["model_id"]}
        image = self._generate({"name": TRAINING_NAME, "kind": "text-to-image"}, order)
        if image.status["status"] != "completed":
            raise ApiError(f"The image was not made: {_error(image.status)}")
        image.file = self._download_image(image)
        return [training, image]

    def _find_model(self, **wanted: str) -> dict[str, Any]:
        """The first model with these properties in the catalogue."""
        for model in self._phone.get("get-models")["models"]:
            if wanted.items() <= model.items():
                return dict(model)
        raise ApiError(f"The catalogue has no {' '.join(wanted.values())}.")

    def _balance(self) -> int:
        return int(self._phone.get("get-user-credits")["credits_remaining"])

    def _generate(self, model: dict[str, Any], order: dict[str, Any]) -> Outcome:
        began = time.monotonic()
        call = "generate/image" if model["kind"] == "text-to-image" else "generate-video"
        job = self._phone.post(call, order, idempotency_key=str(uuid4()))
        job_id = str(job["job_id"])
        price = job["credits_used"]
        self._say(f"  job {job_id} costs {price} credit{'s' if price != 1 else ''}")
        return self._watch(
            job_id,
            model["name"],
            lambda: self._phone.get("get-video-status", job_id=job_id),
            began,
        )

    def _watch(
        self, job_id: str, name: str, read: Callable[[], dict[str, Any]], began: float
    ) -> Outcome:
        """The job's end, as `read` tells it. Shows each status until then."""
        with _watching(self._console) as watching:
            while True:
                status = read()
                watching.show(status)
                took = time.monotonic() - began
                if status["status"] in ENDED:
                    return Outcome(job_id, name, status, took)
                if took > GIVE_UP_SECONDS:
                    raise ApiError(f"Job {job_id} is still {status['status']}.")
                time.sleep(POLL_SECONDS)

    def _download_video(self, made: Outcome) -> Path:
        file = self._phone.download(made.status["video_url"], self._folder / made.short_id)
        self._say(f"  downloaded to {_short(file)}: {_probe(file, seconds=SECONDS)}")
        return file

    def _download_image(self, made: Outcome) -> Path:
        [image] = made.status["images"]
        file = self._phone.download(image["image_url"], self._folder / made.short_id)
        width, height = _image_size(file)
        if (width, height) != (image["width"], image["height"]):
            raise ApiError(f"{file} has {width} x {height} pixels, unlike the API's answer.")
        self._say(f"  downloaded to {_short(file)}: {width} x {height} pixels")
        return file

    def _show_pushes(self) -> None:
        """The pushes that the phone got meanwhile. None if pushes are off or late: not a
        failure."""
        if not os.environ.get("APNS_PRIVATE_KEY"):
            return

        def shown() -> list[tuple[str, str]]:
            return read_pushes(self._sandbox_url, self._push_token)

        wait_until(lambda: len(shown()) >= 3, timeout_seconds=PUSHES_SECONDS)
        for title, body in shown():
            self._say(f"  the phone shows: [bold]{title}[/bold]: {body}")

    def _show_result(self, outcomes: list[Outcome], *, before: int) -> None:
        jobs = Table("job", "model", "status", "seconds", "credits", "file", title="Jobs")
        for outcome in outcomes:
            jobs.add_row(
                *[outcome.short_id, outcome.model, outcome.status["status"]],
                *[f"{outcome.took_seconds:.1f}", outcome.credits],
                _short(outcome.file) if outcome.file else "",
            )
        entries = Table("change", "kind", "job", "balance", title="Credits")
        for entry in reversed(self._phone.get("get-credit-history")["entries"]):
            entries.add_row(
                *[f"{entry['change']:+}", entry["kind"]],
                *[_short_id(str(entry["job_id"] or "")), str(entry["balance_after"])],
            )
        for table in (jobs, entries):
            for column in table.columns:
                column.overflow = "fold"
            self._console.print()
            self._console.print(table, soft_wrap=False)
        self._say(f"balance before {before}, after {self._balance()}")

    def _say(self, text: str) -> None:
        self._console.print(text)


class _Bar:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("pending", total=100)

    def show(self, status: dict[str, Any]) -> None:
        self._progress.update(self._task, completed=status["progress"], description=_words(status))


class _Lines:
    """Output without a progress bar: a line for each change."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last = ""

    def show(self, status: dict[str, Any]) -> None:
        line = f"  {status['progress']:>3} %  {_words(status)}"
        if line != self._last:
            self._console.print(line)
        self._last = line


@contextmanager
def _watching(console: Console) -> Iterator[Watching]:
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = (
        BarColumn(bar_width=30),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console) as progress:
        yield _Bar(progress)


def _words(status: dict[str, Any]) -> str:
    words = [str(status["status"])]
    if status.get("queue_position") is not None:
        words.append(f"{status['queue_position'] or 'none'} ahead in the queue")
    eta = status["eta_seconds"]
    if isinstance(eta, dict):
        words.append(f"{eta['low']:.0f} to {eta['high']:.0f} s left")
    elif eta:  # of a training
        words.append(f"usually {eta} s left")
    return ", ".join(words)


def _error(status: dict[str, Any]) -> str:
    error = status["error"] or {}
    return f"{error.get('message')} ({error.get('code')})"


def _probe(file: Path, *, seconds: int) -> str:
    """The file's properties, after playing it from the first to the last frame."""
    try:
        with av.open(str(file), format="mp4") as container:
            stream = container.streams.video[0]
            frames = sum(1 for _ in container.decode(stream))
            length = float((stream.duration or 0) * (stream.time_base or 0))
            codec, width, height = stream.codec_context.name, stream.width, stream.height
    except (av.FFmpegError, IndexError) as error:
        raise ApiError(f"{file} cannot be played: {error}") from error
    if codec != "h264" or not frames or abs(length - seconds) > 0.25:
        raise ApiError(f"{file} is {codec}, {length:.2f} s, and not H.264 of {seconds} s.")
    return f"H.264, {width} x {height}, {length:.1f} s, {frames} frames"


def _image_size(file: Path) -> tuple[int, int]:
    """Width and height, after decoding the image."""
    try:
        with av.open(str(file)) as container:
            frame = next(container.decode(video=0))
    except (av.FFmpegError, IndexError, StopIteration) as error:
        raise ApiError(f"{file} is no image: {error}") from error
    return frame.width, frame.height


def _short_id(job_id: str) -> str:
    """The random end of the id; its start is a time, equal for jobs of the same minute."""
    return job_id.rpartition("-")[2]


def _short(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
