"""The text that a user accepts before a model of a person is trained."""

from __future__ import annotations

from django.utils.translation import gettext as _

# Changes with the text. A consent states the version that it was given to.
TEXT_VERSION = "2026-11"


def consent_text() -> str:
    """The text of TEXT_VERSION, in the language of the request."""
    return _(
        "These images show me, or a person who has agreed to this. A model that can make new images"
        " of this person is trained on them. The model is stored until I delete it. The images are"
        " deleted at the latest with the model. Both are sent to the providers that train and run"
        " the model. I can withdraw this consent at any time; then the images and the model are"
        " deleted."
    )
