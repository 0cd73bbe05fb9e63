"""Forms that refuse texts without visible characters."""

from __future__ import annotations

from functools import partial
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from rendio.common.text.visible_text import has_visible


def require_visible(value: Any, *, minimum: int = 1) -> None:
    """A validator of form fields. Raises ValidationError."""
    if isinstance(value, str) and not has_visible(value, least=minimum):
        raise ValidationError(
            "Enter at least %(minimum)s visible characters.", params={"minimum": minimum}
        )


class VisibleTextForm(forms.BaseForm):
    """A mixin for forms: a text needs as many visible characters as its `min_length`, at least 1.

    An optional text may be empty, but not consist of invisible characters.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            if isinstance(field, forms.CharField):
                validator = partial(require_visible, minimum=field.min_length or 1)
                field.validators = [*field.validators, validator]
