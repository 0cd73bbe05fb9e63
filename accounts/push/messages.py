"""Texts of pushes, in the language of the customer's profile."""

from __future__ import annotations

from django.utils import translation
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.apple.apns import Message
from accounts.models import Push, PushKind


def message_for(push: Push, *, language: str) -> Message:
    with translation.override(language):
        return _text(push)


def _text(push: Push) -> Message:
    credits = push.credits
    match PushKind(push.kind), push.is_image:
        case PushKind.JOB_COMPLETED, True:
            return Message(_("Your image is ready"), _("Tap to see it."))
        case PushKind.JOB_COMPLETED, _:
            return Message(_("Your video is ready"), _("Tap to watch it."))
        case PushKind.JOB_FAILED, True:
            return Message(_("Your image could not be made"), _credits_back(credits))
        case PushKind.JOB_FAILED, _:
            return Message(_("Your video could not be made"), _credits_back(credits))
        case PushKind.JOB_LATE, True:
            return Message(_("Your image is ready after all"), _late_body(credits))
        case PushKind.JOB_LATE, _:
            return Message(_("Your video is ready after all"), _late_body(credits))
        case PushKind.MODEL_COMPLETED, _:
            return Message(_("Your model is ready"), _("Tap to make images with it."))
        case PushKind.MODEL_FAILED, _:
            return Message(_("Your model could not be trained"), _credits_back(credits))
        case PushKind.MODEL_LATE, _:
            return Message(_("Your model is ready after all"), _late_body(credits))
        case _:
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
