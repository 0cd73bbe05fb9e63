"""Products and purchases."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from rendio.common.background.due_rows import DueRow
from rendio.common.ids import uuid7

# 100 %, in Apple's unit for shares of a price: thousandths of a percent.
FULL_SHARE = 100_000


class Environment(models.TextChoices):
    """Apple's environments. Xcode and LocalTesting are left out: Apple does not sign their data, so
    it is never accepted.
    """

    PRODUCTION = "Production"
    SANDBOX = "Sandbox"  # testers and App Review, who pay nothing


class ProductKind(models.TextChoices):
    CONSUMABLE = "consumable"
    SUBSCRIPTION = "subscription"


class OfferType(models.IntegerChoices):
    """Apple's numbers for kinds of offers. A number that Apple adds later is stored as it is."""

    INTRODUCTORY = 1
    PROMOTIONAL = 2
    OFFER_CODE = 3, "Offer code"
    WIN_BACK = 4, "Win-back"


# Apple's offerDiscountType of a free offer. PAY_AS_YOU_GO, PAY_UP_FRONT and ONE_TIME say how a
# discounted price is charged; that price may be 0 as well.
FREE_TRIAL = "FREE_TRIAL"


class Rollover(models.TextChoices):
    """The treatment of unspent credits at the end of a subscription's period."""

    KEEP = "keep"
    LAPSE = "lapse", "Expire"


class Product(models.Model):
    """A product in the App Store. Apple sets its price, which each purchase stores."""

    id = models.UUIDField("ID", primary_key=True, default=uuid7, editable=False)
    product_id = models.CharField(
        "product ID", max_length=100, unique=True, help_text="Same as in App Store Connect."
    )
    kind = models.CharField(max_length=12, choices=ProductKind.choices)
    name = models.CharField(max_length=80)
    credits = models.PositiveIntegerField(help_text="Per piece, or per subscription period.")
    trial_credits = models.PositiveIntegerField(
        "trial credits",
        default=0,
        db_default=0,
        help_text="Credits if the App Store charged nothing: free trial or free offer code.",
    )
    rollover = models.CharField(
        "unspent credits",
        max_length=5,
        choices=Rollover.choices,
        default=Rollover.KEEP,
        help_text="Subscriptions: unspent credits at the end of a period are kept or expire.",
    )
    period = models.CharField(
        max_length=10, blank=True, help_text="Subscriptions: ISO 8601 duration, for example P1M."
    )
    position = models.PositiveSmallIntegerField(default=0, help_text="Order in lists.")
    is_available = models.BooleanField(
        "available",
        default=True,
        help_text="Shown in the app. Purchases of unavailable products are still granted.",
    )

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(credits__gt=0), name="product_brings_credits"),
            models.CheckConstraint(
                condition=Q(trial_credits__lte=F("credits")),
                name="product_trial_brings_no_more",
                violation_error_message="A trial may not bring more credits than a paid period.",
            ),
            models.CheckConstraint(
                condition=Q(kind=ProductKind.CONSUMABLE, period="")
                | (Q(kind=ProductKind.SUBSCRIPTION) & ~Q(period="")),
                name="product_subscription_has_a_period",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class PendingReason(models.TextChoices):
    """Why a genuine purchase has granted no credits yet: work for staff, not a loss."""

    NO_OWNER = "nobody", "No owner"  # names none of our users, and no phone has claimed it yet
    ACCOUNT_CLOSED = "closed", "Account closed"  # the account that it names has been deleted
    UNKNOWN_PRODUCT = "product", "Unknown product"  # there is no such Product here
    FRAUD_REVIEW = "held", "Fraud review"  # the user's fraud score is above the limit
    # Until the debt is repaid, or staff release the purchase.
    RELATED_DEBT = "debt", "Debt of a related user"
    CONSENT_WITHDRAWN = "guardian", "Parental consent withdrawn"


# Staff may release these.
NEEDS_REVIEW = frozenset(
    {PendingReason.FRAUD_REVIEW, PendingReason.RELATED_DEBT, PendingReason.CONSENT_WITHDRAWN}
)


class PurchaseQuerySet(models.QuerySet["Purchase"]):
    def pending(self) -> PurchaseQuerySet:
        """Purchases that need staff."""
        return self.exclude(pending_reason="")

    def revenue(self) -> PurchaseQuerySet:
        """Purchases that somebody paid for."""
        return self.filter(environment=Environment.PRODUCTION)


class Purchase(DueRow):
    """A transaction of the App Store, as Apple last signed it.

    Stored before anything else happens, and due until its credits are in the ledger. It makes no
    difference whether the phone, a notification or the history delivered it.
    """

    id = models.UUIDField("ID", primary_key=True, default=uuid7, editable=False)
    environment = models.CharField(max_length=10, choices=Environment.choices)
    transaction_id = models.CharField("transaction ID", max_length=50)
    original_transaction_id = models.CharField("original transaction ID", max_length=50)
    product_id = models.CharField("product ID", max_length=100, help_text="Apple's value.")
    type = models.CharField(max_length=40, help_text="Apple's value.")
    is_renewal = models.BooleanField("renewal", default=False, db_default=False)
    is_family_shared = models.BooleanField(
        "family shared",
        default=False,
        db_default=False,
        help_text="Shared by a family member. Grants the tier, but no credits.",
    )
    quantity = models.PositiveIntegerField()
    app_account_token = models.UUIDField("app account token", null=True, blank=True)
    app_transaction_id = models.CharField(
        max_length=50,
        blank=True,
        default="",
        db_default="",
        help_text="The same for all purchases of an Apple account.",
    )
    price_milliunits = models.BigIntegerField(
        null=True, blank=True, help_text="Price in thousandths of the currency unit."
    )
    offer_type = models.PositiveSmallIntegerField(
        choices=OfferType.choices,
        null=True,
        blank=True,
        help_text="Empty without an offer.",
    )
    offer_discount_type = models.CharField(
        max_length=40, blank=True, default="", db_default="", help_text="Apple's value."
    )
    offer_identifier = models.CharField(
        max_length=100,
        blank=True,
        default="",
        db_default="",
        help_text="Same as in App Store Connect.",
    )
    currency = models.CharField(max_length=3, blank=True)
    storefront = models.CharField(max_length=3, blank=True)
    purchased_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Subscriptions only.")
    signed_at = models.DateTimeField(help_text="Time of Apple's signature of this data.")
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_share = models.PositiveIntegerField(
        default=0, help_text="Refunded share of the price, in thousandths of a percent."
    )
    clawed_back_share = models.PositiveIntegerField(
        db_column="taken_share",
        default=0,
        db_default=0,
        help_text="Clawed back share of the credits, in thousandths of a percent.",
    )

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="purchases",
    )
    pending_reason = models.CharField(
        max_length=10, choices=PendingReason.choices, blank=True, db_column="problem"
    )
    credits = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="Credits granted. Fewer for trials and sandbox purchases, 0 for shared ones.",
    )
    granted_at = models.DateTimeField(null=True, blank=True)
    released_at = models.DateTimeField(
        null=True, blank=True, help_text="Released by support despite fraud signals."
    )
    recorded_at = models.DateTimeField()

    objects = PurchaseQuerySet.as_manager()

    class Meta:
        constraints = [
            # One row for each transaction, so that it is granted once.
            models.UniqueConstraint(
                fields=["environment", "transaction_id"], name="purchase_once_per_transaction"
            ),
            models.CheckConstraint(
                condition=Q(granted_at=None, credits=None)
                | Q(granted_at__isnull=False, credits__isnull=False, user__isnull=False),
                name="purchase_granted_to_somebody",
            ),
            models.CheckConstraint(
                condition=Q(revoked_share__lte=FULL_SHARE), name="purchase_share_of_a_whole"
            ),
        ]
        indexes = [
            models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="purchase_due"),
            # A user's purchases, newest first.
            models.Index(F("user"), F("id").desc(), name="purchase_by_user"),
            # A phone names a transaction without its environment; renewals share the original.
            models.Index(fields=["transaction_id"], name="purchase_by_transaction"),
            models.Index(fields=["original_transaction_id"], name="purchase_by_original"),
            # Other users of the same Apple account.
            models.Index(
                fields=["app_transaction_id"],
                condition=~Q(app_transaction_id=""),
                name="purchase_by_apple_account",
            ),
            # Support's list of pending purchases.
            models.Index(
                fields=["recorded_at"], condition=~Q(pending_reason=""), name="purchase_waiting"
            ),
        ]

    def __str__(self) -> str:
        # Without the whole id: not everybody who reads a title may see it.
        return f"{self.product_id} …{self.transaction_id[-4:]}"

    @property
    def price(self) -> str | None:
        """The price as Apple reports it; None if Apple does not."""
        if self.price_milliunits is None:
            return None
        return f"{self.price_milliunits / 1000:.2f} {self.currency}"

    @property
    def is_free(self) -> bool:
        """Whether the App Store charged nothing: a trial, or an offer at price 0."""
        return self.price_milliunits == 0 or self.offer_discount_type == FREE_TRIAL

    @property
    def offer(self) -> str:
        """The offer in words for support; empty without one."""
        if self.offer_type is None:
            return ""
        named = [self.get_offer_type_display(), self.offer_discount_type, self.offer_identifier]
        return ", ".join(str(one) for one in named if one)

    @property
    def is_refunded(self) -> bool:
        """Whether the whole price was refunded. A partly refunded purchase still belongs to its
        owner.
        """
        return self.revoked_share >= FULL_SHARE

    @property
    def ledger_id(self) -> str:
        """The purchase's transaction id in the ledger. Apple numbers the transactions of its
        sandbox independently, so these get a prefix: they are no other purchase's, and no revenue.
        """
        if self.environment == Environment.SANDBOX:
            return f"sandbox:{self.transaction_id}"
        return self.transaction_id


class UnconfirmedPurchase(DueRow):
    """A transaction that a phone named while Apple was unavailable. A worker asks Apple until it
    answers, whether or not the phone retries.
    """

    id = models.UUIDField("ID", primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="unconfirmed_purchases"
    )
    transaction_id = models.CharField("transaction ID", max_length=50)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["user", "transaction_id"], name="unconfirmed_once_per_user"
            ),
        ]
        indexes = [models.Index(fields=["due_at"], name="unconfirmed_due")]

    def __str__(self) -> str:
        return self.transaction_id


class AppAccountTokenUpdate(DueRow):
    """A merged guest's purchase in which Apple has yet to name the account."""

    id = models.UUIDField("ID", primary_key=True, default=uuid7, editable=False)
    environment = models.CharField(max_length=10, choices=Environment.choices)
    original_transaction_id = models.CharField(max_length=50)
    # The user whose id becomes the token.
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField()

    class Meta:
        db_table = "billing_tokenchange"
        constraints = [
            models.UniqueConstraint(
                fields=["environment", "original_transaction_id"],
                name="token_change_once_per_purchase",
            ),
        ]
        indexes = [models.Index(fields=["due_at"], name="token_change_due")]

    def __str__(self) -> str:
        return self.original_transaction_id
