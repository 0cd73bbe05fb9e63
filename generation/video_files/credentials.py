"""Our own Content Credentials (C2PA). Runs in the process of `__main__`, with our private key."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from generation.video_files.ai_mark import OFFLINE, has_credentials
from generation.video_files.media_info import SourceType
from generation.video_files.mp4_boxes import QUICKTIME

# Environment variables of the process.
CERTIFICATES, PRIVATE_KEY = "C2PA_CERTIFICATES", "C2PA_PRIVATE_KEY"
MEDIA_TYPES = {
    ".mp4": "video/mp4",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
}
FIRST_BYTES = {b"\xff\xd8": "image/jpeg", b"\x89PNG": "image/png", b"RIFF": "image/webp"}
# A preview in the manifest would be larger than many thumbnails.
SETTINGS = {**OFFLINE, "builder": {"thumbnail": {"enabled": False}}}
GENERATOR = {"claim_generator_info": [{"name": "Rendio"}]}
# Of a file that is made from a supplier's: other size or encoding, same content.
TRANSCODED = {"label": "c2pa.actions.v2", "data": {"actions": [{"action": "c2pa.transcoded"}]}}


def sign(
    original: Path,
    folder: Path,
    names: Sequence[str],
    *,
    certificates: str,
    private_key: str,
    algorithm: str,
    source_type: SourceType,
) -> None:
    """Replace the files of these names in `folder` by signed ones, all of them or none.

    A file made from an `original` with valid credentials names the original as its parent, and the
    supplier's manifest is kept within ours. Any other file is stated to be of `source_type`.
    """
    from c2pa import C2paSignerInfo, Signer

    is_derived = has_credentials(original)
    info = C2paSignerInfo(algorithm, certificates.encode(), private_key.encode(), None)
    with Signer.from_info(info) as signer:
        for name in names:
            _sign_file(folder / name, original if is_derived else None, signer, source_type)
    for name in names:
        _signed(folder / name).replace(folder / name)


def _sign_file(path: Path, parent: Path | None, signer: Any, source_type: SourceType) -> None:
    from c2pa import Builder, C2paBuilderIntent, C2paDigitalSourceType, Context

    manifest: dict[str, Any] = {**GENERATOR, "format": MEDIA_TYPES[path.suffix]}
    if parent:
        manifest["assertions"] = [TRANSCODED]
    with (
        Builder(manifest, context=Context.from_dict(SETTINGS)) as builder,
        path.open("rb") as source,
        _signed(path).open("w+b") as target,
    ):
        if parent:
            builder.set_intent(C2paBuilderIntent.EDIT)
            with parent.open("rb") as content:
                media_type = _media_type(content)
                builder.add_ingredient({"relationship": "parentOf"}, media_type, content)
        else:
            kinds = {
                SourceType.GENERATED: C2paDigitalSourceType.TRAINED_ALGORITHMIC_MEDIA,
                SourceType.EDITED: C2paDigitalSourceType.COMPOSITE_WITH_TRAINED_ALGORITHMIC_MEDIA,
            }
            builder.set_intent(C2paBuilderIntent.CREATE, kinds[source_type])
        builder.sign(signer, MEDIA_TYPES[path.suffix], source, target)


def _media_type(file: BinaryIO) -> str:
    """The media type of a provider's file, whose name says nothing."""
    head = file.read(12)
    file.seek(0)
    for start, media_type in FIRST_BYTES.items():
        if head.startswith(start):
            return media_type
    return "video/quicktime" if head[4:] == QUICKTIME else "video/mp4"


def _signed(path: Path) -> Path:
    return path.with_name(f"signed-{path.name}")
