"""The marks that AI made a file: ours in XMP, and a supplier's that stays.

Ours is IPTC's digital source type in an XMP packet
(https://iptc.org/std/photometadata/specification/IPTC-PhotoMetadata#digital-source-type). A
supplier's is the same in the file's own XMP, or Content Credentials (C2PA), which bind the bytes.
Runs in the process of `__main__`, except for `append_mark`.
"""

from __future__ import annotations

import mmap
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from generation.video_files import mp4_boxes
from generation.video_files.media_info import SourceType, SupplierMark

# The identifier of `xpacket` is the same in all files (XMP, part 1, 7.3.2).
XMP_PACKET = """\
<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">
   <Iptc4xmpExt:DigitalSourceType>%s</Iptc4xmpExt:DigitalSourceType>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>"""
# In the manifest store of every file with Content Credentials.
C2PA_LABEL = b"c2pa"
# Nothing outside the file is read: a manifest or certificate may name an address of its own.
OFFLINE = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}


def save_image(
    image: Image.Image, path: Path, *, image_format: str, quality: int, source_type: SourceType
) -> None:
    """Save as JPEG, PNG or WebP with our mark and without any other metadata.

    `quality` does not apply to PNG.
    """
    packet = XMP_PACKET % source_type
    if image_format == "PNG":
        text = PngInfo()
        text.add_itxt("XML:com.adobe.xmp", packet)
        image.save(path, "PNG", pnginfo=text)
    else:
        image.save(path, image_format, quality=quality, xmp=packet.encode())


def append_mark(path: Path) -> None:
    """Append our mark to an MP4 file that `can_append_mark`. The other bytes stay as they are."""
    mp4_boxes.append_xmp(path, (XMP_PACKET % SourceType.GENERATED).encode())


def can_append_mark(path: Path) -> bool:
    """Whether a reader of the MP4 file would find our mark, and no other XMP before it."""
    return mp4_boxes.is_complete(path) and not mp4_boxes.read_xmp(path)


def read_image_mark(path: Path) -> SupplierMark:
    """The supplier's mark in an image. Its XMP does not count: it goes when the image is
    re-encoded, and ours has the same statement."""
    return SupplierMark.CREDENTIALS if has_credentials(path) else SupplierMark.NONE


def read_video_mark(path: Path) -> SupplierMark:
    if has_credentials(path):
        return SupplierMark.CREDENTIALS
    if SourceType.GENERATED.encode() in mp4_boxes.read_xmp(path):
        return SupplierMark.XMP
    return SupplierMark.NONE


def has_credentials(path: Path) -> bool:
    """Whether the file has Content Credentials that fit its bytes, by any signer.

    A signer that nobody trusts counts, because we vouch for no supplier. Credentials of other bytes
    do not count.
    """
    with path.open("rb") as file:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if content.find(C2PA_LABEL) < 0:
                return False
        # Imported only for such files: the import costs as much as reading a short video.
        from c2pa import C2paError, Context, Reader

        try:
            reader = Reader.try_create(file, context=Context.from_dict(OFFLINE))
        except C2paError:
            return False
        return reader is not None and reader.get_validation_state() in {"Valid", "Trusted"}
