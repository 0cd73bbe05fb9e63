"""The rules of a model's settings, as the model's row states them.

{"allowed": [4, 8], "default": 4}      a choice; every order has a value
{"minimum": 0, "maximum": 2147483647}  a whole number that an order may have
{"max_length": 500}                    a text that an order may have
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

Rule = Mapping[str, Any]
CHOICE, NUMBER, TEXT = {"allowed", "default"}, {"minimum", "maximum"}, {"max_length"}


def is_choice(rule: Rule) -> bool:
    """Whether the setting has a list of values. Only these have a default and change a price."""
    return "allowed" in rule


def options(rule: Rule) -> list[Any]:
    """The values of a choice; None, for "not set", of a setting without a list of values."""
    return list(rule["allowed"]) if is_choice(rule) else [None]


def is_allowed(rule: Rule, value: Any) -> bool:
    if is_choice(rule):
        # 4 == 4.0 == True in Python: the type is part of the value here.
        return any(type(value) is type(option) and value == option for option in rule["allowed"])
    if "max_length" in rule:
        return isinstance(value, str) and len(value) <= rule["max_length"]
    return type(value) is int and bool(rule["minimum"] <= value <= rule["maximum"])


def problem(rule: Rule) -> str:
    """What an order's value must be, for a caller who sent another."""
    if is_choice(rule):
        return _("Must be one of %(options)s.") % {
            "options": ", ".join(str(option) for option in rule["allowed"])
        }
    if "max_length" in rule:
        return _("Must be a text of at most %(max_length)s characters.") % rule
    return _("Must be a whole number from %(minimum)s to %(maximum)s.") % rule
