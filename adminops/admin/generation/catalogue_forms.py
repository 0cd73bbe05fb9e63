"""Forms of the catalogue. An invalid row would take every model off sale, so the forms validate
each field and say how to correct it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError

from adminops.actions import catalogue_limits
from adminops.actions.catalogue import RouteEdit
from adminops.admin.edit_pages import EditForm, require_between
from adminops.admin.visible_text import VisibleTextForm
from generation import masks
from generation.catalogue import setting_rules
from generation.catalogue.kinds import (
    KINDS,
    MAX_OUTPUTS,
    NUM_OUTPUTS,
    SOURCE_IMAGES,
    STEPS,
    TRAINING_INPUTS,
    WEIGHTS_URL,
)
from generation.catalogue.orders import PROMPT_MAX, PROMPT_MIN_VISIBLE, is_valid_prompt
from generation.catalogue.specs import PLACE
from generation.models import (
    GenerationModel,
    ModelKind,
    PricingType,
    ProviderRoute,
    Theme,
    TrainingKind,
)
from generation.providers import provider_choices
from rendio.common.text.visible_text import has_visible

if TYPE_CHECKING:
    from django.forms import BaseInlineFormSet
else:
    from unfold.forms import PaginationInlineFormSet as BaseInlineFormSet

# Inputs of a request in addition to the model's settings.
INPUTS = ("prompt", *SOURCE_IMAGES, WEIGHTS_URL, *TRAINING_INPUTS)
# Characters of a text that an order may have as a setting.
TEXT_MAX = 2000
# What a provider changes by a mask.
MASK_PARTS = (masks.WHITE, masks.BLACK, masks.TRANSPARENT)
# Fields of a route's training, and whether a value is valid.
TRAINER_FIELDS: dict[str, Callable[[Any], bool]] = {
    "base_family": lambda value: _is_name(value),
    "min_pictures": lambda value: type(value) is int and value >= 1,
    "captions": lambda value: type(value) is bool,
    "seconds_per_step": lambda value: type(value) in (int, float) and value > 0,
}
LOADER_FIELDS: dict[str, Callable[[Any], bool]] = {
    "base_families": lambda value: isinstance(value, list) and all(map(_is_name, value)),
}
FACTOR_MIN, FACTOR_MAX = Decimal("0.001"), Decimal(1000)


class ObjectField(forms.JSONField):
    """A JSON object with one line for each name. An empty text is {}."""

    def prepare_value(self, value: Any) -> Any:
        if value is None:
            return ""  # submitted empty
        if not isinstance(value, dict) or not value:
            return super().prepare_value(value)
        lines = [f"  {_dump(name)}: {_dump(inner)}" for name, inner in value.items()]
        return "{\n" + ",\n".join(lines) + "\n}"

    def to_python(self, value: Any) -> Any:
        parsed = super().to_python(value)
        if parsed is None:
            return {}
        if not isinstance(parsed, dict):
            raise ValidationError('Enter a JSON object, such as {"name": …}.')
        if not _storable(parsed):
            raise ValidationError("Numbers must be finite. Texts must not contain NUL characters.")
        return parsed


class ModelForm(EditForm):
    def clean_base_price_usd(self) -> Decimal:
        price: Decimal = self.cleaned_data["base_price_usd"]
        return require_between(
            price, catalogue_limits.MIN_PRICE_USD, catalogue_limits.MAX_PRICE_USD
        )

    def clean_settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = self.cleaned_data["settings"]
        check_settings(settings)
        return settings

    def clean_is_default(self) -> bool:
        is_default: bool = self.cleaned_data["is_default"]
        other = GenerationModel.objects.filter(is_default=True).exclude(id=self.instance.id).first()
        if is_default and other:
            raise ValidationError(f"{other.name} is already the default. Change that model first.")
        return is_default

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        settings = values.get("settings")
        if settings is None:
            return values
        if values.get("pricing_type") == PricingType.DURATION and "duration" not in settings:
            self.add_error("settings", "Pricing by duration requires a setting named duration.")
        is_image = values.get("kind") in KINDS and KINDS[values["kind"]].media == "image"
        if values.get("tier") and not is_image:
            self.add_error("tier", "Only models that make images have a tier.")
        if NUM_OUTPUTS in settings and not is_image:
            self.add_error("settings", f"Only models that make images have {NUM_OUTPUTS}.")
        if values.get("kind") == ModelKind.TRAINING:
            if values.get("category") not in TrainingKind.values:
                kinds = ", ".join(TrainingKind.values)
                self.add_error("category", f"The category of a trainer must be one of {kinds}.")
            if not setting_rules.is_choice(settings.get(STEPS, {})):
                self.add_error("settings", f"A trainer requires a list of values of {STEPS}.")
        if "multipliers" in values:
            _add_errors(self, "multipliers", check_multipliers, values["multipliers"], settings)
        for theme in Theme.objects.filter(model_id=self.instance.id):
            if problem := setting_problem(theme.default_settings, settings):
                self.add_error(
                    "settings", f"The theme {theme.name} has an invalid setting: {problem}"
                )
        return values


class RouteForm(VisibleTextForm, forms.ModelForm):
    def clean_provider(self) -> str:
        provider: str = self.cleaned_data["provider"]
        known = [name for name, _ in provider_choices()]
        if provider not in known:
            raise ValidationError(f"Must be one of {', '.join(known)}.")
        return provider

    def clean_cost_usd(self) -> Decimal:
        cost: Decimal = self.cleaned_data["cost_usd"]
        if cost < 0:
            raise ValidationError("Must be at least 0.")
        return cost


class RouteFormSet(BaseInlineFormSet):
    """The routes of a model, validated against the model that is being saved."""

    def edits(self) -> list[RouteEdit]:
        """The values of the valid forms, for new and existing routes."""
        names = {
            field.name for field in ProviderRoute._meta.concrete_fields if field.name != "model"
        }
        found = []
        for form in self.forms:
            is_new = form.instance._state.adding
            if is_new and not form.has_changed():
                continue  # an empty extra form
            values = {name: value for name, value in form.cleaned_data.items() if name in names}
            values.pop("id", None)
            found.append(RouteEdit(None if is_new else form.instance.id, values))
        return found

    def clean(self) -> None:
        super().clean()
        model: GenerationModel = self.instance
        settings = model.settings
        for form in self.forms:
            values = getattr(form, "cleaned_data", {})
            if "parameters" in values:
                _add_errors(form, "parameters", check_parameters, values["parameters"], model)
            if "limits" in values:
                _add_errors(form, "limits", check_limits, values["limits"], settings)
            if "training" in values:
                parameters = values.get("parameters", {})
                _add_errors(form, "training", check_training, values["training"], parameters, model)
            if "cost_multipliers" in values:
                _add_errors(
                    form,
                    "cost_multipliers",
                    check_multipliers,
                    values["cost_multipliers"],
                    settings,
                )


class ThemeForm(EditForm):
    def clean_default_prompt(self) -> str:
        prompt: str = self.cleaned_data["default_prompt"]
        if not is_valid_prompt(prompt.strip()):
            raise ValidationError(
                f"Enter at most {PROMPT_MAX} characters, at least {PROMPT_MIN_VISIBLE} of them"
                " visible."
            )
        return prompt

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        model = values.get("model")
        defaults = values.get("default_settings", {})
        if model and (problem := setting_problem(defaults, model.settings)):
            self.add_error("default_settings", problem)
        return values


# --- Validation -----------------------------------------------------------------------------------


def check_settings(settings: dict[str, Any]) -> None:
    """A rule for each name (generation.catalogue.setting_rules). Raises ValidationError."""
    problems = [
        f"{name}: {problem}"
        for name, rule in settings.items()
        if (problem := _rule_problem(name, rule))
    ]
    if problems:
        raise ValidationError(problems)


def _rule_problem(name: str, rule: Any) -> str | None:
    if name in INPUTS or not has_visible(name):
        return "not a valid name for a setting."
    if isinstance(rule, dict) and set(rule) == setting_rules.NUMBER:
        bounds = [rule["minimum"], rule["maximum"]]
        are_whole = all(type(bound) is int for bound in bounds)
        return None if are_whole and bounds[0] <= bounds[1] else "bounds must be whole numbers."
    if isinstance(rule, dict) and set(rule) == setting_rules.TEXT:
        most = rule["max_length"]
        return (
            None
            if type(most) is int and 1 <= most <= TEXT_MAX
            else f"max_length must be a whole number from 1 to {TEXT_MAX}."
        )
    if not isinstance(rule, dict) or set(rule) != setting_rules.CHOICE:
        return 'use {"allowed": […], "default": …}.'
    allowed, default = rule["allowed"], rule["default"]
    if not isinstance(allowed, list) or not allowed:
        return "allowed must be a list with at least one value."
    if any(type(value) not in (str, int, float) for value in allowed):
        return "allowed values must be texts or numbers."
    if len({str(value) for value in allowed}) < len(allowed):
        return "allowed has a duplicate value."
    if name == "duration" and any(type(value) is not int or value < 1 for value in allowed):
        return "durations must be whole seconds, at least 1."
    if name == NUM_OUTPUTS and any(value not in range(1, MAX_OUTPUTS + 1) for value in allowed):
        return f"the numbers of outputs must be whole, from 1 to {MAX_OUTPUTS}."
    if not setting_rules.is_allowed(rule, default):
        return f"the default {default} is not among the allowed values."
    return None


def check_multipliers(multipliers: dict[str, Any], settings: dict[str, Any]) -> None:
    """{setting: {value: factor}}, for existing settings and allowed values. Raises
    ValidationError."""
    problems = []
    for name, factors in multipliers.items():
        if name not in settings:
            problems.append(f"{name}: no setting with this name.")
            continue
        if not isinstance(factors, dict):
            problems.append(f'{name}: use an object, such as {{"1080p": "1.5"}}.')
            continue
        allowed = {str(value) for value in setting_rules.options(settings[name])}
        for value, factor in factors.items():
            if value not in allowed:
                problems.append(f"{name}: {value} is not among the allowed values.")
            elif not _is_factor(factor):
                problems.append(
                    f"{name}: the factor of {value} must be a number between {FACTOR_MIN} and "
                    f"{FACTOR_MAX}."
                )
    if problems:
        raise ValidationError(problems)


def check_limits(limits: dict[str, Any], settings: dict[str, Any]) -> None:
    """{setting: [values]}, for existing settings and allowed values. Raises ValidationError."""
    problems = []
    for name, values in limits.items():
        if name not in settings:
            problems.append(f"{name}: no setting with this name.")
        elif not setting_rules.is_choice(settings[name]):
            problems.append(f"{name}: has no list of values.")
        elif not isinstance(values, list) or not values:
            problems.append(f"{name}: use a list with at least one value.")
        else:
            problems += [
                f"{name}: {value} is not among the allowed values."
                for value in values
                if not setting_rules.is_allowed(settings[name], value)
            ]
    if problems:
        raise ValidationError(problems)


def check_training(
    training: dict[str, Any], parameters: dict[str, Any], model: GenerationModel
) -> None:
    """What a trainer makes and needs, or which trained models an image model loads. Raises
    ValidationError."""
    is_trainer = model.kind == ModelKind.TRAINING
    known = TRAINER_FIELDS if is_trainer else LOADER_FIELDS
    problems = [
        f"{name}: must be one of {', '.join(known)}." for name in training if name not in known
    ]
    if is_trainer and "base_family" not in training:
        problems.append("base_family is missing.")
    if training.get("base_families") and WEIGHTS_URL not in parameters:
        problems.append(f"base_families: the parameters need {WEIGHTS_URL}.")
    for name, value in training.items():
        if name in known and not known[name](value):
            problems.append(f"{name}: not a valid value.")
    if problems:
        raise ValidationError(problems)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and has_visible(value)


def check_parameters(parameters: dict[str, Any], model: GenerationModel) -> None:
    """{our name: {"name": the provider's name, "format": "{}s" or "values": {ours: theirs}}}, with
    all required inputs. Raises ValidationError."""
    known = [*INPUTS, *model.settings]
    needed = KINDS[ModelKind(model.kind)].required_parameters if model.kind in KINDS else ()
    problems = [f"{name} is missing." for name in needed if name not in parameters]
    for name, mapping in parameters.items():
        if name not in known:
            problems.append(f"{name}: must be one of {', '.join(known)}.")
        elif problem := _mapping_problem(mapping, is_mask=name == "mask_url"):
            problems.append(f"{name}: {problem}")
    if problems:
        raise ValidationError(problems)


def _mapping_problem(mapping: Any, *, is_mask: bool) -> str | None:
    keys = {"name", "format", "values", "list", "object", *(["changes"] if is_mask else [])}
    if not isinstance(mapping, dict) or not set(mapping) <= keys:
        return (
            'use {"name": …}, with "format": "{}s", "values": {ours: theirs}, "list": true or '
            '"object": {"path": "{}", …}.'
        )
    if any(
        not isinstance(mapping.get(key, key), str) or mapping.get(key) == ""
        for key in ("name", "format")
    ):
        return "name and format must be texts."
    if not isinstance(mapping.get("values", {}), dict) or set(mapping) >= {"format", "values"}:
        return "values must be an object, without a format."
    if mapping.get("changes", masks.WHITE) not in MASK_PARTS:
        return f"changes must be one of {', '.join(MASK_PARTS)}."
    if type(mapping.get("list", True)) is not bool:
        return "list must be true or false."
    shape = mapping.get("object", {"": PLACE})
    if not isinstance(shape, dict) or list(shape.values()).count(PLACE) != 1:
        return 'object must have "{}" once, as the place of the value.'
    around = mapping.get("format", "{}").split("{}")
    if len(around) != 2 or any(brace in text for text in around for brace in "{}"):
        return "format must contain {} once, as the place of the value."
    return None


def setting_problem(chosen: dict[str, Any], settings: dict[str, Any]) -> str | None:
    """The first value in `chosen` that an order could not have. None if all are allowed."""
    for name, value in chosen.items():
        rule = settings.get(name)
        if rule is None:
            return f"no setting is named {name}."
        if not setting_rules.is_allowed(rule, value):
            return f"{value} is not an allowed {name}."
    return None


def _is_factor(factor: Any) -> bool:
    if type(factor) not in (str, int, float):
        return False
    try:
        number = Decimal(str(factor))
    except InvalidOperation:
        return False
    return number.is_finite() and FACTOR_MIN <= number <= FACTOR_MAX


def _storable(value: Any) -> bool:
    """Whether PostgreSQL accepts the value: Python's JSON also allows NaN and NUL characters."""
    if isinstance(value, dict):
        return all(_storable(key) and _storable(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(_storable, value))
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, str):
        return "\x00" not in value and not any("\ud800" <= letter <= "\udfff" for letter in value)
    return True


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _add_errors(form: forms.BaseForm, name: str, check: Any, *values: Any) -> None:
    try:
        check(*values)
    except ValidationError as error:
        form.add_error(name, error)
