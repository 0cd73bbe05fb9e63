"""Pictures as phones take them, and files as attackers build them."""

from __future__ import annotations

import struct
import zipfile
import zlib
from io import BytesIO
from typing import Any

import pillow_heif
from django.core.files.uploadedfile import SimpleUploadedFile
from PIL import Image, ImageCms, PngImagePlugin

pillow_heif.register_heif_opener()

SIZE = (64, 48)
RED, BLUE = (254, 0, 0), (0, 0, 254)
SCRIPT = b"<script>alert(document.domain)</script>"


def upload(phone: Any, content: bytes | None = None, *, name: str = "IMG_0001.HEIC") -> Any:
    """Send a picture in; `phone` is anything with a client and a session."""
    file = SimpleUploadedFile(name, jpeg() if content is None else content, "image/heic")
    headers = {"Authorization": f"Bearer {phone.session['access_token']}"}
    return phone.client.post("/v1/upload-image", {"file": file}, headers=headers)


def uploaded(phone: Any, content: bytes | None = None) -> dict[str, Any]:
    answer = upload(phone, content)
    assert answer.status_code == 201, answer.content
    body: dict[str, Any] = answer.json()
    return body


def two_halves(size: tuple[int, int] = SIZE) -> Image.Image:
    """Red on the left, blue on the right."""
    picture = Image.new("RGB", size, RED)
    picture.paste(BLUE, (size[0] // 2, 0, *size))
    return picture


def saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    out = BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def jpeg(**options: Any) -> bytes:
    return saved(two_halves(), "JPEG", quality=95, **options)


def png(**options: Any) -> bytes:
    return saved(two_halves(), "PNG", **options)


def webp(**options: Any) -> bytes:
    return saved(two_halves(), "WEBP", **options)


def heic(**options: Any) -> bytes:
    return saved(two_halves(), "HEIF", quality=95, **options)


def several(kind: str) -> bytes:
    """One file that moves."""
    others = [Image.new("RGB", SIZE, (shade, 0, 0)) for shade in (50, 150)]
    return saved(two_halves(), kind, save_all=True, append_images=others)


def turned(orientation: int) -> bytes:
    """As a camera that was held so writes it: a red left half, once it is seen upright."""
    undo = {2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}
    upright = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
    picture = two_halves()
    if orientation > 1:
        picture = picture.transpose(Image.Transpose(upright[undo[orientation]]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(picture, "JPEG", quality=95, exif=exif.tobytes())


def talkative() -> bytes:
    """A JPEG that tells where it was taken and by whom, and hides a page in a comment."""
    exif = Image.Exif()
    exif[0x010F] = "SecretCameraMaker"
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8825)[2] = (41.0, 0.0, 30.0)
    return jpeg(
        exif=exif.tobytes(),
        comment=SCRIPT,
        xmp=b"<x:xmpmeta>SecretOwner</x:xmpmeta>",
        icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    )


def in_another_profile() -> bytes:
    """Red, in a profile in which red and green have changed places."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = profile.replace(b"rXYZ", b"----").replace(b"gXYZ", b"rXYZ").replace(b"----", b"gXYZ")
    return saved(Image.new("RGB", SIZE, RED), "JPEG", quality=95, icc_profile=swapped)


# --- What attackers build -------------------------------------------------------------------------


def chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def png_of(width: int, height: int, *chunks: bytes) -> bytes:
    """A PNG that says it is so large."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + data + chunk(b"IEND", b"")


def png_with(extra: bytes) -> bytes:
    """A sound PNG with further chunks in its middle."""
    whole = png()
    return whole[:33] + extra + whole[33:]


def jpeg_with(extra: bytes) -> bytes:
    """A sound JPEG with further segments after its beginning."""
    whole = jpeg()
    return whole[:2] + extra + whole[2:]


def jpeg_of(width: int, height: int) -> bytes:
    whole = bytearray(jpeg())
    frame = whole.index(b"\xff\xc0")
    whole[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(whole)


def webp_of_the_largest() -> bytes:
    """16,383 x 16,383, by the two numbers in its frame's head (RFC 6386, 9.1)."""
    whole = bytearray(webp())
    start = whole.index(b"\x9d\x01\x2a") + 3
    whole[start : start + 4] = struct.pack("<HH", 16_383, 16_383)
    return bytes(whole)


def jpeg_of_scans(count: int) -> bytes:
    """The last scan of a progressive JPEG over and over: each goes over all pixels."""
    whole = jpeg(progressive=True)
    last = whole.rindex(b"\xff\xda")
    return whole[:last] + whole[last:-2] * count + whole[-2:]


def heic_that_lies() -> bytes:
    """Says 64 x 48 and is 2000 x 2000."""
    large = saved(Image.new("RGB", (2000, 2000), RED), "HEIF", quality=10)
    return large.replace(struct.pack(">II", 2000, 2000), struct.pack(">II", *SIZE))


def zipped() -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("payload.class", b"\xca\xfe\xba\xbe")
    return out.getvalue()


def text_bomb() -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "0" * 5_000_000, zip=True)
    return png(pnginfo=info)
