"""Who people are: users, their devices, their sessions, and who has had the welcome credits."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID, uuid4

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Upper
from django.utils import timezone

from rendio.common.due import DueRow
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


class RevokedReason(models.TextChoices):
    """Why a session ended before its time."""

    LOGOUT = "logout"
    REUSE = "reuse"  # an old refresh token came again: somebody else may hold one
    BAN = "ban"
    OWNER = "owner"  # ended by its owner from the list, or with another session of that phone
    MERGE = "merge"  # of a guest who became part of an account
    DELETION = "deletion"  # its owner has left
    APPLE = "apple"  # consent was withdrawn at Apple
    SUPPORT = "support"  # somebody else may hold the phone


class UserManager(BaseUserManager["User"]):
    def create_guest(self, *, now: datetime) -> User:
        """Somebody of whom we know a device and nothing else."""
        user = self.model(is_guest=True, created_at=now)
        user.set_unusable_password()
        user.save(using=self._db)
        return user

    def create_user(
        self, username: str, email: str | None = None, password: str | None = None, **fields: Any
    ) -> User:
        """Somebody who signs in with name and password, which only staff do."""
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
    """A person, a guest or a member of staff. Rows stay: the money record points here."""

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    username = models.CharField(max_length=150, unique=True, null=True, blank=True)
    email = models.EmailField(null=True, blank=True)  # noqa: DJ001
    is_guest = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False)
    # As it was when it was set; `tier_at` is what counts.
    tier = models.CharField(max_length=10, choices=Tier.choices, default=Tier.FREE)
    tier_until = models.DateTimeField(
        null=True, blank=True, help_text="When a tier that was paid for ends, if nobody renews it."
    )
    language = models.CharField(max_length=5, choices=Language.choices, default=Language.ENGLISH)
    theme_preference = models.CharField(
        max_length=10, choices=ThemePreference.choices, default=ThemePreference.SYSTEM
    )
    tos_version = models.CharField(  # noqa: DJ001
        max_length=32, null=True, blank=True, help_text="The terms that were accepted, if any."
    )
    welcomed_at = models.DateTimeField(
        null=True, blank=True, help_text="When the welcome credits were given to this user."
    )
    suspended_at = models.DateTimeField(null=True, blank=True)
    suspended_reason = models.TextField(blank=True, default="")
    closed_at = models.DateTimeField(
        null=True, blank=True, help_text="Left for good: deleted, or a guest that was merged."
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
            # Support's lists: newest first, and whoever is banned.
            models.Index(F("created_at").desc(), name="accounts_user_newest"),
            models.Index(
                "suspended_at",
                condition=Q(suspended_at__isnull=False),
                name="accounts_user_suspended",
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

    def tier_at(self, now: datetime) -> Tier:
        """The user's tier at this moment: one that has run out has ended, told of or not."""
        has_ended = self.tier_until is not None and self.tier_until <= now
        return Tier.FREE if has_ended else Tier(self.tier)


class Device(models.Model):
    """An installation of the app, and whose it is now. A person may have several.

    It is nobody's once an account has signed out on it: the next device check makes a guest, and
    the phone belongs to whoever signs in then.
    """

    # The phone's own name for the installation; a reinstall brings a new one.
    device_id = models.UUIDField(primary_key=True)
    user = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.PROTECT, related_name="devices"
    )
    created_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()

    def __str__(self) -> str:
        return str(self.device_id)


class WelcomeClaimQuerySet(models.QuerySet["WelcomeClaim"]):
    def about(self, *, device_id: UUID, token_hash: str) -> WelcomeClaimQuerySet:
        """The claims of this installation or of this very token, in the order to lock them."""
        return self.filter(Q(device_id=device_id) | Q(token_hash=token_hash)).order_by("token_hash")

    def decided(self) -> WelcomeClaimQuerySet:
        """Those whose credits were given, or whose installation has its user.

        The latter were decided with that user: what a parallel call left behind earns nothing more.
        """
        has_user = Exists(Device.objects.filter(device_id=OuterRef("device_id")))
        return self.filter(Q(granted_at__isnull=False) | has_user)


class WelcomeClaim(models.Model):
    """Written before Apple is told that a device has had its welcome, and never deleted.

    Apple's bit alone cannot tell whether we gave the credits or died between the bit and our
    commit. With this row we know that the bit may be ours, and go on where we stopped.
    """

    # SHA-256 of Apple's device token: one token is one piece of hardware, whatever device_id it
    # comes with.
    token_hash = models.CharField(max_length=64, primary_key=True)
    device_id = models.UUIDField()
    started_at = models.DateTimeField()
    # How many of our calls that set the bit may have had their effect. With 0 a bit that is set was
    # set by another claim, which gave the credits or will.
    updates_in_doubt = models.PositiveIntegerField(default=0)
    granted_at = models.DateTimeField(null=True)
    user = models.ForeignKey(
        User, null=True, on_delete=models.SET_NULL, related_name="welcome_claims"
    )

    objects = WelcomeClaimQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(granted_at__isnull=False) | Q(user__isnull=True),
                name="accounts_claim_has_no_user_before_its_grant",
            ),
        ]
        indexes = [
            # A retry of the same installation brings a new token.
            models.Index("device_id", name="accounts_claim_device"),
        ]

    def __str__(self) -> str:
        return f"{self.device_id} {self.started_at:%Y-%m-%d}"


class AttestedKey(models.Model):
    """A key in the hardware of an Apple device, which Apple has found to be our app's.

    Its row lock orders its uses. It speaks for the device that it was attested for and for no
    other; a device may have several, since a phone that is restored from a backup makes a new one.
    """

    # Base64 of the SHA-256 of the public key, as the phone names it.
    key_id = models.CharField(max_length=44, primary_key=True)
    device_id = models.UUIDField()
    app_id = models.CharField(max_length=255)
    public_key = models.BinaryField(help_text="The point on P-256, uncompressed.")
    receipt = models.BinaryField(help_text="For Apple's fraud metric; not to be had later.")
    # Of the last use; each must have a higher one. Apple's is of 32 bits, without a sign.
    counter = models.PositiveBigIntegerField(default=0)
    created_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            # An account that goes takes the keys of its devices along.
            models.Index(fields=["device_id"], name="accounts_key_device"),
        ]

    def __str__(self) -> str:
        return self.key_id


class SessionQuerySet(models.QuerySet["Session"]):
    def live(self, now: datetime) -> SessionQuerySet:
        """Those that a refresh goes on with."""
        return self.filter(revoked_at=None, continued_by=None, expires_at__gt=now)


class Session(models.Model):
    """One sign-in and all refresh tokens that follow from it.

    One row for all of them: its lock orders refreshes, and revoking the family is one update.
    Tokens are stored as SHA-256 only.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="sessions")
    device = models.ForeignKey(
        Device, null=True, on_delete=models.SET_NULL, related_name="sessions"
    )
    refresh_hash = models.CharField(max_length=64)
    # The token that the last rotation replaced. For the grace it may come again: its answer was
    # lost.
    previous_hash = models.CharField(max_length=64, blank=True, default="")
    # Successors that were handed out within a grace and then replaced unused: {hash: epoch
    # seconds}.
    superseded_hashes = models.JSONField(default=dict)
    # A sign-in opens a new session; the last refresh token of this one leads there for the grace.
    continued_by = models.ForeignKey(
        "self", null=True, on_delete=models.SET_NULL, related_name="continues"
    )
    generation = models.PositiveIntegerField(default=1)
    rotated_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()
    last_used_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True)
    revoked_reason = models.CharField(
        max_length=10, choices=RevokedReason.choices, blank=True, default=""
    )

    objects = SessionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(revoked_at__isnull=True) | ~Q(revoked_reason=""),
                name="accounts_revocation_has_its_reason",
            ),
        ]
        indexes = [
            # Every process asks every few seconds who was revoked lately; the sweep asks too.
            models.Index(
                "revoked_at", condition=Q(revoked_at__isnull=False), name="accounts_session_revoked"
            ),
            # The sweep's other question.
            models.Index("expires_at", name="accounts_session_expires"),
        ]

    def __str__(self) -> str:
        return str(self.id)


class ConsentKind(models.TextChoices):
    """What is agreed to."""

    TERMS = "terms"
    PRIVACY = "privacy"
    AI_PROVIDERS = "ai_providers"  # that prompts and pictures go to the providers named
    CONSUMPTION = "consumption"  # that Apple hears what was used of a purchase to be refunded


class Consent(models.Model):
    """One time that somebody agreed, or took it back. Appended, never updated.

    The latest of a kind is what counts; of AI_PROVIDERS the latest for each provider it names.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="consents")
    kind = models.CharField(max_length=12, choices=ConsentKind.choices)
    version = models.CharField(max_length=32, help_text="Of the text that was shown.")
    granted = models.BooleanField()
    providers = models.JSONField(default=list, help_text="Names, for AI_PROVIDERS alone.")
    recorded_at = models.DateTimeField()

    class Meta:
        indexes = [
            # The latest of a kind, and a user's whole history.
            models.Index(fields=["user", "kind", "-id"], name="accounts_consent_latest"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.version}: {'yes' if self.granted else 'no'}"


class AppleIdentity(models.Model):
    """Whose account an Apple account signs in to. Its row lock orders sign-ins with it."""

    # Apple's name for the person, the same in all apps of our team.
    sub = models.CharField(max_length=255, unique=True)
    user = models.OneToOneField(User, on_delete=models.CASCADE, related_name="apple_identity")
    client_id = models.CharField(max_length=255, help_text="The app of ours that was signed in to.")
    email = models.EmailField(null=True, blank=True)  # noqa: DJ001
    email_verified = models.BooleanField(default=False)
    is_private_email = models.BooleanField(default=False)
    relay_enabled = models.BooleanField(
        default=True, help_text="Whether Apple forwards what we send to a private address."
    )
    # Kept to be revoked when the account is deleted (accounts.appleid.encrypt); may be empty.
    refresh_token_encrypted = models.TextField(blank=True, default="")
    created_at = models.DateTimeField()
    last_sign_in_at = models.DateTimeField()
    # Consent was withdrawn at Apple. The next sign-in gives it again, and the account is there.
    unlinked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "Apple identities"

    def __str__(self) -> str:
        return self.sub


class AppleRevocation(DueRow):
    """The refresh token of an account that was deleted, until Apple has revoked it. Whose it was is
    not known any more."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    token_encrypted = models.TextField()
    client_id = models.CharField(max_length=255)
    created_at = models.DateTimeField()
    due_at = models.DateTimeField(db_index=True)  # always: the row goes once it is done

    def __str__(self) -> str:
        return f"since {self.created_at:%Y-%m-%d}, {self.tries} tries"


class SpentToken(models.Model):
    """An identity token that has been signed in with, a notice that has been taken in, a challenge
    that has been answered.

    Each is good once; kept until it would no longer be believed anyway.
    """

    name = models.CharField(max_length=64, primary_key=True)
    expires_at = models.DateTimeField()

    class Meta:
        # The sweep of expired ones.
        indexes = [models.Index(fields=["expires_at"], name="accounts_spent_expires")]

    def __str__(self) -> str:
        return self.name
