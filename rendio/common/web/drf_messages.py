"""REST framework's field messages, listed here so that our translations replace its own.

Its Turkish and Spanish are written for programmers. `make messages` finds these; a test compares
the list with the messages that our serializers can produce.
"""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

DRF_MESSAGES = (
    _("This field is required."),
    _("This field may not be null."),
    _("This field may not be blank."),
    _("Not a valid string."),
    _("Must be a valid UUID."),
    _("Must be a valid boolean."),
    _("A valid integer is required."),
    _("Ensure this field has no more than {max_length} characters."),
    _("Ensure this field has no more than {max_length} elements."),
    _('"{input}" is not a valid choice.'),
    _('Expected a list of items but got type "{input_type}".'),
    _("Invalid data. Expected a dictionary, but got {datatype}."),
    _('Method "{method}" not allowed.'),
    _('Unsupported media type "{media_type}" in request.'),
)
