"""What support's acts refuse. `problem` in an InvalidState's details says in words what stands in
the way."""

from __future__ import annotations

from generation.errors import InvalidModel, InvalidState
from rendio.common.errors import Forbidden, InvalidInput, NotFound

__all__ = ["Forbidden", "InvalidInput", "InvalidModel", "InvalidState", "NotFound"]
