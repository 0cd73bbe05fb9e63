"""Users and their consents."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID, uuid4

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Upper
from django.utils import timezone

from rendio.common.ids import uuid7


class Tier(models.TextChoices):
    FREE = "free"
    PREMIUM = "premium"


class Language(models.TextChoices):
    ENGLISH = "en"
    TURKISH = "tr"
    SPANISH = "es"


class ThemePreference(models.TextChoices):
    SYSTEM = "system"
    LIGHT = "light"
    DARK = "dark"


class UserManager(BaseUserManager["User"]):
    def create_guest(self, *, now: datetime) -> User:
        """A user of whom only a device is known."""
        user = self.model(is_guest=True, created_at=now)
        user.set_unusable_password()
        user.save(using=self._db)
        return user

    def create_user(
        self, username: str, email: str | None = None, password: str | None = None, **fields: Any
    ) -> User:
        """A user who signs in with name and password: staff only."""
        if not username:
            raise ValueError("A username is needed.")
        user = self.model(
            username=self.model.normalize_username(username),
            email=self.normalize_email(email) or None,
            is_guest=False,
            **fields,
        )
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(
        self, username: str, email: str | None = None, password: str | None = None, **fields: Any
    ) -> User:
        return self.create_user(
            username, email, password, is_staff=True, is_superuser=True, **fields
        )


class User(AbstractBaseUser, PermissionsMixin):
    """A guest, an account or a member of staff. Rows are never deleted: the money record refers to
    them."""

    id = models.UUIDField("ID", primary_key=True, default=uuid4, editable=False)
    username = models.CharField(max_length=150, unique=True, null=True, blank=True)
    email = models.EmailField(null=True, blank=True)  # noqa: DJ001
    is_guest = models.BooleanField("guest", default=True)
    is_staff = models.BooleanField("staff", default=False)
    # As it was set; `tier_at` gives the tier at a time.
    tier = models.CharField(max_length=10, choices=Tier.choices, default=Tier.FREE)
    tier_until = models.DateTimeField(
        "tier ends at",
        null=True,
        blank=True,
        help_text="End of the paid tier, unless it is renewed.",
    )
    language = models.CharField(max_length=5, choices=Language.choices, default=Language.ENGLISH)
    language_changed_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="Last change of the language."
    )
    theme_preference = models.CharField(
        max_length=10, choices=ThemePreference.choices, default=ThemePreference.SYSTEM
    )
    tos_version = models.CharField(  # noqa: DJ001
        "terms version",
        max_length=32,
        null=True,
        blank=True,
        help_text="Version of the accepted terms of service.",
    )
    welcomed_at = models.DateTimeField(
        "welcome granted at", null=True, blank=True, help_text="Time of the welcome grant."
    )
    suspended_at = models.DateTimeField("banned at", null=True, blank=True)
    suspended_reason = models.TextField("ban reason", blank=True, default="")
    hardware_banned_at = models.DateTimeField(
        "device banned at",
        null=True,
        blank=True,
        help_text="Signed in on a banned device. A guest cannot spend credits. An account is"
        " blocked on that device only.",
    )
    closed_at = models.DateTimeField(
        null=True, blank=True, help_text="Account deleted, or guest merged into an account."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    USERNAME_FIELD = "username"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    objects: ClassVar[UserManager] = UserManager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(is_staff=False) | Q(username__isnull=False),
                name="accounts_staff_sign_in_by_name",
            ),
        ]
        indexes = [
            # Support's lists: newest first, and banned users.
            models.Index(F("created_at").desc(), name="accounts_user_newest"),
            models.Index(
                "suspended_at",
                condition=Q(suspended_at__isnull=False),
                name="accounts_user_suspended",
            ),
            # Read by each process every few seconds (accounts.languages).
            models.Index(
                "language_changed_at",
                condition=Q(language_changed_at__isnull=False),
                name="accounts_user_language",
            ),
            # Support's search by the whole address; most users have none.
            models.Index(
                Upper("email"), condition=Q(email__isnull=False), name="accounts_user_email"
            ),
        ]

    def __str__(self) -> str:
        return self.username or str(self.id)

    @property
    def is_active(self) -> bool:  # type: ignore[override]
        """Whether Django lets the user sign in."""
        return self.suspended_at is None and self.closed_at is None

    @property
    def may_redeem(self) -> bool:
        """Whether the user counts as one person: an account by its Apple account, a guest with a
        welcome by the phone. Other guests can be multiplied by reinstalling."""
        return not self.is_guest or self.welcomed_at is not None

    def related_user_ids(self) -> set[UUID]:
        """All other users with the same Apple account, closed ones included."""
        others = User.objects.filter(person_keys__key__in=self.person_keys.values("key"))
        return set(others.exclude(id=self.id).values_list("id", flat=True))

    def tier_at(self, now: datetime) -> Tier:
        """The user's tier at `now`: a tier that has run out counts as free."""
        has_ended = self.tier_until is not None and self.tier_until <= now
        return Tier.FREE if has_ended else Tier(self.tier)


class ConsentKind(models.TextChoices):
    """The subject of a consent."""

    TERMS = "terms"
    PRIVACY = "privacy", "Privacy policy"
    AI_PROVIDERS = "ai_providers", "AI providers"  # prompts and images go to the named providers
    CONSUMPTION = (
        "consumption",
        "Consumption data",
    )  # Apple gets the usage of a purchase to be refunded


class Consent(models.Model):
    """One consent or withdrawal. Appended, never updated.

    The latest record of a kind counts; for AI_PROVIDERS the latest for each provider that it names.
    """

    id = models.UUIDField("ID", primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="consents")
    kind = models.CharField(max_length=12, choices=ConsentKind.choices)
    version = models.CharField(max_length=32, help_text="Version of the text that was shown.")
    granted = models.BooleanField()
    providers = models.JSONField(
        default=list, help_text="Names of AI providers. For the kind AI_PROVIDERS only."
    )
    recorded_at = models.DateTimeField()

    class Meta:
        indexes = [
            # The latest of a kind, and a user's whole history.
            models.Index(fields=["user", "kind", "-id"], name="accounts_consent_latest"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.version}: {'yes' if self.granted else 'no'}"
