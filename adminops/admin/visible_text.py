"""Forms whose texts have to say something."""

from __future__ import annotations

from functools import partial
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from rendio.common.visible_text import has_visible


def require_visible(value: Any, *, least: int = 1) -> None:
    """A validator of form fields. Raises ValidationError."""
    if isinstance(value, str) and not has_visible(value, least=least):
        raise ValidationError(
            "Write at least %(least)s visible characters.", params={"least": least}
        )


class VisibleTextForm(forms.BaseForm):
    """Mixed into a form: of a text, so much must be seen as its shortest length says. What may be
    left empty may still not be filled with what nobody sees."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            if isinstance(field, forms.CharField):
                judge = partial(require_visible, least=field.min_length or 1)
                field.validators = [*field.validators, judge]
