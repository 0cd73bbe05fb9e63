"""Wan 2.2 TI2V 5B (Apache 2.0): five seconds at 24 frames a second.

https://huggingface.co/Wan-AI/Wan2.2-TI2V-5B-Diffusers names these numbers. Needs a GPU of 24 GB.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan, WanPipeline
from diffusers.utils import export_to_video
from worker import VideoOrder

WEIGHTS = "Wan-AI/Wan2.2-TI2V-5B-Diffusers"
FRAMES = 121
FRAMES_PER_SECOND = 24
STEPS = 50
GUIDANCE = 5.0


class Wan:
    """Loading takes about a minute, once for each worker."""

    def __init__(self) -> None:
        # In 32 bits the decoder makes cleaner pictures.
        decoder = AutoencoderKLWan.from_pretrained(
            WEIGHTS, subfolder="vae", torch_dtype=torch.float32
        )
        self._pipeline = WanPipeline.from_pretrained(
            WEIGHTS, vae=decoder, torch_dtype=torch.bfloat16
        ).to("cuda")

    def make(self, order: VideoOrder, path: Path, report: Callable[[int], None]) -> None:
        def report_step(_: Any, step: int, __: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            report(100 * (step + 1) // STEPS)
            return tensors

        frames = self._pipeline(
            prompt=order.prompt,
            width=order.width,
            height=order.height,
            num_frames=FRAMES,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            callback_on_step_end=report_step,
        ).frames[0]
        export_to_video(frames, str(path), fps=FRAMES_PER_SECOND)
