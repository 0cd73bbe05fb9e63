"""The body of train/upload, and the serializer and builder of its response."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _
from rest_framework import serializers

from generation.catalogue import cache
from generation.models import PictureProblem, TrainingKind, TrainingSet
from generation.training.picture_checks import MESSAGES
from generation.training.pictures import CheckedFile, UploadedSet
from rendio.common.times import iso
from rendio.common.web.body import Body, optional_id


class UploadBody(Body):
    """The fields of the form besides `files` and `kind`."""

    set_id = optional_id()


class ProblemItem(serializers.Serializer):
    problem = serializers.ChoiceField(choices=PictureProblem.values)
    message = serializers.CharField()


class PictureItem(serializers.Serializer):
    picture_id = serializers.UUIDField(
        allow_null=True, help_text="Null if the file is not stored: send it again, or another one."
    )
    file_name = serializers.CharField(allow_blank=True)
    width = serializers.IntegerField(allow_null=True, min_value=1)
    height = serializers.IntegerField(allow_null=True, min_value=1)
    problems = ProblemItem(many=True)
    usable = serializers.BooleanField()


class UploadedSetAnswer(serializers.Serializer):
    set_id = serializers.UUIDField(
        allow_null=True, help_text="Null if no file was stored and the call named no set."
    )
    pictures = PictureItem(many=True, help_text="One for each file of this call, in order.")
    usable = serializers.IntegerField(min_value=0, help_text="The usable images of the set.")
    minimum = serializers.IntegerField(
        min_value=1,
        allow_null=True,
        help_text="The usable images that a training of this `kind` needs. Null without a `kind`, "
        "and if there is no training of this kind.",
    )
    expires_at = serializers.DateTimeField(allow_null=True)


def uploaded_set_answer(uploaded: UploadedSet, *, kind: TrainingKind | None) -> dict[str, Any]:
    training_set = uploaded.training_set
    return {
        "set_id": training_set.id if training_set else None,
        "pictures": [_picture_item(file, kind) for file in uploaded.files],
        "usable": _count_usable(training_set, kind) if training_set else 0,
        "minimum": _minimum(kind) if kind else None,
        "expires_at": iso(training_set.expires_at) if training_set else None,
    }


def _picture_item(file: CheckedFile, kind: TrainingKind | None) -> dict[str, Any]:
    picture = file.picture
    problems = picture.problems_for(kind) if picture else [str(file.problem)]
    return {
        "picture_id": picture.id if picture else None,
        "file_name": file.name,
        "width": picture.width if picture else None,
        "height": picture.height if picture else None,
        "problems": [
            {"problem": problem, "message": _message(problem, file.detail)} for problem in problems
        ],
        "usable": not problems,
    }


def _message(problem: str, detail: str) -> str:
    if detail:
        return _("This file cannot be used: %(problem)s.") % {"problem": detail}
    return str(MESSAGES[problem])


def _count_usable(training_set: TrainingSet, kind: TrainingKind | None) -> int:
    return sum(not picture.problems_for(kind) for picture in training_set.pictures.all())


def _minimum(kind: TrainingKind) -> int | None:
    trainer = cache.current().trainers.get(kind)
    return trainer.min_pictures if trainer else None
