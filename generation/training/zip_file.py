"""The zip file that a trainer downloads: the images in order, with captions if the route wants
them."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Sequence
from typing import BinaryIO

from django.core.files.storage import default_storage


def write_zip(into: BinaryIO, names: Sequence[str], *, caption: str = "") -> None:
    """Write the stored images `names` as 01.jpg, 02.jpg …, and the caption of each, if there is
    one, as 01.txt …

    One image at a time is in memory, in pieces. Raises FileNotFoundError for an image that is
    deleted, and the errors of the storage.
    """
    with zipfile.ZipFile(into, "w", zipfile.ZIP_STORED) as archive:
        for number, name in enumerate(names, start=1):
            with default_storage.open(name) as image, archive.open(f"{number:02}.jpg", "w") as file:
                shutil.copyfileobj(image, file)
            if caption:
                archive.writestr(f"{number:02}.txt", caption)
