"""Models that users train on their own images.

A training is a job of the kind `training`: the job has its status, its price and its refund.
"""

from __future__ import annotations

from uuid import UUID

from django.conf import settings
from django.db import models
from django.db.models import Q, Value
from django.utils import timezone

from generation.models.jobs import Job
from rendio.common.background.due_rows import DueRow
from rendio.common.ids import uuid7
from rendio.common.querysets import OwnedQuerySet

MAX_MODEL_NAME = 60  # characters


class TrainingKind(models.TextChoices):
    """What the images show."""

    PERSON = "person"
    STYLE = "style"
    OBJECT = "object"


class PictureProblem(models.TextChoices):
    """Why an image, or a file that is none, cannot be used for a training."""

    TOO_SMALL = "too_small"
    BLURRED = "blurred"
    TOO_DARK = "too_dark"
    TOO_BRIGHT = "too_bright"
    DUPLICATE = "duplicate"
    NO_FACE = "no_face"
    SEVERAL_FACES = "several_faces"
    # Of files that are not stored:
    UNREADABLE = "unreadable"
    TOO_LARGE = "too_large"
    NOT_ALLOWED = "not_allowed"
    SET_FULL = "set_full"
    NOT_CHECKED = "not_checked"


# These matter only where a person is trained.
FACE_PROBLEMS = frozenset({PictureProblem.NO_FACE, PictureProblem.SEVERAL_FACES})


class TrainingSet(models.Model):
    """Images that a user uploaded for a training."""

    id = models.UUIDField("ID", primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="training_sets"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(help_text="New trainings can use the images until then.")
    remove_at = models.DateTimeField(
        null=True, blank=True, help_text="Next check for deletion. Empty while a training needs it."
    )

    objects = OwnedQuerySet["TrainingSet"].as_manager()

    class Meta:
        indexes = [
            # Sets to check for deletion.
            models.Index(
                fields=["remove_at"],
                condition=Q(remove_at__isnull=False),
                name="training_set_to_be_removed",
            )
        ]

    def __str__(self) -> str:
        return str(self.id)

    @property
    def folder(self) -> str:
        """The folder of all its files in storage."""
        return f"training/{self.id}/"

    def usable_pictures(self, kind: TrainingKind) -> list[TrainingPicture]:
        """Those without a problem that matters for this kind, in order."""
        pictures = TrainingPicture.objects.filter(set=self).order_by("position")
        return [picture for picture in pictures if not picture.problems_for(kind)]


class TrainingPicture(models.Model):
    """One image of a set, and what is wrong with it. The row exists only if the file is
    complete."""

    id = models.UUIDField("ID", primary_key=True, default=uuid7, editable=False)
    set = models.ForeignKey(TrainingSet, on_delete=models.CASCADE, related_name="pictures")
    position = models.PositiveSmallIntegerField(help_text="Order of upload, from 1.")
    file_name = models.CharField(
        max_length=120, blank=True, default="", db_default="", help_text="As the phone named it."
    )
    width = models.PositiveIntegerField()
    height = models.PositiveIntegerField()
    size_bytes = models.PositiveIntegerField()
    checks = models.JSONField(
        default=dict,
        db_default=Value({}, models.JSONField()),
        blank=True,
        help_text="Measurements: sharpness, mean luminance, clipped share, hash, faces.",
    )
    problems = models.JSONField(
        default=list,
        db_default=Value([], models.JSONField()),
        blank=True,
        help_text="Names of problems. Empty: usable.",
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["set", "position"], name="training_picture_one_per_position"
            )
        ]

    def __str__(self) -> str:
        return str(self.id)

    @property
    def name(self) -> str:
        """The file's name in storage."""
        return f"training/{self.set_id}/{self.id}.jpg"

    def problems_for(self, kind: str | None) -> list[str]:
        """The problems that matter to a training of this kind; None: to any."""
        if kind == TrainingKind.PERSON:
            return list(self.problems)
        return [problem for problem in self.problems if problem not in FACE_PROBLEMS]


class TrainingConsent(models.Model):
    """A user's consent to train a model on images of a person: who, when, and to which text."""

    id = models.UUIDField("ID", primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="training_consents"
    )
    given_at = models.DateTimeField()
    text_version = models.CharField(max_length=20)
    language = models.CharField(max_length=10)
    subject_name = models.CharField(max_length=60, blank=True, default="", db_default="")
    withdrawn_at = models.DateTimeField(null=True, blank=True)

    objects = OwnedQuerySet["TrainingConsent"].as_manager()

    def __str__(self) -> str:
        return f"{self.text_version} ({self.given_at:%Y-%m-%d})"


class TrainedModelQuerySet(OwnedQuerySet["TrainedModel"]):
    def owned_by(self, user_id: UUID) -> TrainedModelQuerySet:
        """The user's trained models that are not deleted."""
        return super().owned_by(user_id).filter(deleted_at=None)

    def usable(self) -> TrainedModelQuerySet:
        """Those whose weights are in our storage."""
        return self.filter(deleted_at=None).exclude(weights_name="")


class TrainedModel(models.Model):
    """A model (LoRA) that a user trains or has trained. Its job says how far the training is."""

    id = models.UUIDField("ID", primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="trained_models"
    )
    name = models.CharField(max_length=MAX_MODEL_NAME)
    kind = models.CharField(max_length=10, choices=TrainingKind.choices)
    job = models.OneToOneField(Job, on_delete=models.PROTECT, related_name="training")
    training_set = models.ForeignKey(
        TrainingSet,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="trained_models",
    )
    trigger_word = models.CharField(
        max_length=30, help_text="The word in prompts that stands for what was learned."
    )
    base_family = models.CharField(
        max_length=40,
        blank=True,
        default="",
        db_default="",
        help_text="The base models that can load the weights.",
    )
    weights_name = models.CharField(max_length=100, blank=True, default="", db_default="")
    weights_size_bytes = models.PositiveBigIntegerField(default=0, db_default=0)
    provider = models.CharField(max_length=20, blank=True, default="", db_default="")
    provider_model = models.CharField(
        max_length=200,
        blank=True,
        default="",
        db_default="",
        help_text="The provider's name of its copy, such as owner/name.",
    )
    consent = models.ForeignKey(
        TrainingConsent,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="trained_models",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    deleted_at = models.DateTimeField(null=True, blank=True)

    objects = TrainedModelQuerySet.as_manager()

    class Meta:
        indexes = [
            # A user's list, newest first: ids are time-ordered.
            models.Index(
                fields=["user", "-id"],
                condition=Q(deleted_at__isnull=True),
                name="trained_model_by_user",
            )
        ]

    def __str__(self) -> str:
        return str(self.id)  # staff may see the name masked


class ProviderModelDeletion(DueRow):
    """A provider's copy of a trained model, until the provider has deleted it."""

    id = models.UUIDField("ID", primary_key=True, default=uuid7, editable=False)
    provider = models.CharField(max_length=20)
    key_label = models.CharField(max_length=30, blank=True, default="", db_default="")
    provider_model = models.CharField(max_length=200)

    class Meta:
        # Due deletions.
        indexes = [models.Index(fields=["due_at"], name="provider_model_deletion_due")]

    def __str__(self) -> str:
        return f"{self.provider} {self.provider_model}"
