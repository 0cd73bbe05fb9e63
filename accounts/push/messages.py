"""Texts of pushes, in the language of the customer's profile."""

from __future__ import annotations

from django.utils import translation
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.apple.apns import Message
from accounts.models import Push, PushKind


def message_for(push: Push, *, language: str) -> Message:
    with translation.override(language):
        return _image_text(push) if push.is_image else _video_text(push)


def _video_text(push: Push) -> Message:
    match PushKind(push.kind):
        case PushKind.JOB_COMPLETED:
            return Message(_("Your video is ready"), _("Tap to watch it."))
        case PushKind.JOB_FAILED:
            return Message(_("Your video could not be made"), _credits_back(push.credits))
        case PushKind.JOB_LATE:
            return Message(_("Your video is ready after all"), _late_body(push.credits))
        case PushKind.CREDITS_RETURNED:
            return _credits_returned()


def _image_text(push: Push) -> Message:
    match PushKind(push.kind):
        case PushKind.JOB_COMPLETED:
            return Message(_("Your image is ready"), _("Tap to see it."))
        case PushKind.JOB_FAILED:
            return Message(_("Your image could not be made"), _credits_back(push.credits))
        case PushKind.JOB_LATE:
            return Message(_("Your image is ready after all"), _late_body(push.credits))
        case PushKind.CREDITS_RETURNED:
            return _credits_returned()


def _credits_back(credits: int) -> str:
    if not credits:
        return _("Your request was not allowed, so its credits were not returned.")
    return ngettext(
        "Your %(credits)s credit is back.", "Your %(credits)s credits are back.", credits
    ) % {"credits": credits}


def _late_body(credits: int) -> str:
    return ngettext(
        "It was late, so you also keep the %(credits)s credit.",
        "It was late, so you also keep the %(credits)s credits.",
        credits,
    ) % {"credits": credits}


def _credits_returned() -> Message:
    """Without a number: one push covers any number of jobs."""
    return Message(
        _("Your credits are back"),
        _("Something went wrong on our side. We have returned the credits."),
    )
