"""What the tests of pictures start from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


class Storage:
    """A media folder of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> list[str]:
        files = (path for path in self.folder.rglob("*") if path.is_file())
        return sorted(str(path.relative_to(self.folder)) for path in files)

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()


@pytest.fixture
def storage(tmp_path: Path, settings: Any) -> Storage:
    settings.MEDIA_ROOT = str(tmp_path)
    return Storage(tmp_path)
