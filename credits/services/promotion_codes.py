"""Promotion codes: users redeem them, staff create and change them."""

from __future__ import annotations

import unicodedata
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.db.models import Q

from credits.errors import CodeRefused
from credits.models import Kind, PromotionCode, Redemption, Source, Wallet
from credits.services.entries import add_lot
from credits.services.wallets import check_can_spend, lock_wallet
from rendio.common.errors import InvalidInput, NotFound
from rendio.common.text.visible_text import is_visible
from rendio.common.times import iso

logger = structlog.get_logger(__name__)

CODE_MIN, CODE_MAX = 4, 32
# The reason in the credit history. Without the code: staff without the permission for codes read
# the history too. The Redemption row has the code.
REASON = "promotion code"
MAX_CREDITS = 100_000
MAX_LOT_DAYS = 3_650
_TAKEN = "There is a code {} already."


def normalize_code(typed: str) -> str:
    """Return a code as it is stored: capital letters and digits only.

    Accents are removed: a Turkish keyboard types a capital i with a dot.
    """
    return "".join(
        letter
        for letter in unicodedata.normalize("NFKD", typed).upper()
        if letter.isalnum() and is_visible(letter)
    )


@dataclass(frozen=True)
class Redeemed:
    """`credits_added`: the increase of the balance, after debt and the maximum balance."""

    credits_added: int
    credits_remaining: int
    expires_at: datetime | None


def redeem(*, user_id: UUID, code: str, now: datetime) -> Redeemed:
    """Grant a code's credits to a user. Joins the caller's transaction.

    The wallet's lock serializes one user's redemptions, the code's lock those of all users. Raises
    NotFound for a code that does not exist or has not started, CodeRefused, AccountSuspended,
    Unauthorized.
    """
    wallet = lock_wallet(user_id=user_id)
    check_can_spend(wallet)
    found = (
        PromotionCode.objects.select_for_update(no_key=True)
        .filter(code=normalize_code(code))
        .first()
    )
    if found is None or (found.starts_at and found.starts_at > now):
        raise NotFound
    if problem := _find_refusal(found, wallet, now=now):
        raise CodeRefused(problem=problem)
    before = wallet.balance
    expires_at = now + timedelta(days=found.lot_days) if found.lot_days else None
    entry = add_lot(
        wallet,
        kind=Kind.GRANT,
        amount=found.credits,
        source=Source.PROMOTION,
        reason=REASON,
        now=now,
        expires_at=expires_at,
    )
    Redemption.objects.create(code=found, wallet=wallet, entry=entry, redeemed_at=now)
    found.redemption_count += 1
    found.save(update_fields=["redemption_count"])
    logger.info("code_redeemed", user_id=str(user_id), code_id=str(found.id))
    return Redeemed(wallet.balance - before, wallet.balance, expires_at)


def _find_refusal(code: PromotionCode, wallet: Wallet, *, now: datetime) -> str | None:
    if _count_redemptions(code, wallet) >= code.max_per_user:
        return "already_redeemed"
    if not code.is_active:
        return "stopped"
    if code.ends_at and code.ends_at <= now:
        return "expired"
    if code.max_redemptions is not None and code.redemption_count >= code.max_redemptions:
        return "used_up"
    if wallet.user and not wallet.user.may_redeem:
        return "sign_in_first"
    return None


def _count_redemptions(code: PromotionCode, wallet: Wallet) -> int:
    """Count this customer's redemptions, also as another user and before an account deletion. The
    caller has locked the code, so no other redemption runs.
    """
    others = wallet.user.related_user_ids() if wallet.user else set()
    by_person = Q(wallet=wallet) | Q(wallet__user_id__in=others)
    return Redemption.objects.filter(by_person, code=code).count()


@dataclass(frozen=True)
class CodeTerms:
    """A code's credits, period and limits. None: no limit, no end, no expiry."""

    credits: int
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    max_redemptions: int | None = None
    max_per_user: int = 1
    lot_days: int | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"starts_at": iso(self.starts_at), "ends_at": iso(self.ends_at)}

    @classmethod
    def from_json(cls, terms: dict[str, Any]) -> CodeTerms:
        """The inverse of `as_json`."""
        times = {
            name: datetime.fromisoformat(terms[name]) if terms[name] else None
            for name in ("starts_at", "ends_at")
        }
        return cls(**terms | times)


def get_terms(code: PromotionCode) -> CodeTerms:
    return CodeTerms(**{name: getattr(code, name) for name in CodeTerms.__dataclass_fields__})


def create_code(*, code: str, terms: CodeTerms, now: datetime) -> PromotionCode:
    """Create a code, redeemable from its start. Joins the caller's transaction. Raises
    InvalidInput.
    """
    code = validate_new_code(code=code, terms=terms)
    made, is_new = PromotionCode.objects.get_or_create(
        code=code, defaults=asdict(terms) | {"created_at": now}
    )
    if not is_new:
        raise InvalidInput(fields={"code": [_TAKEN.format(code)]})
    return made


def validate_new_code(*, code: str, terms: CodeTerms) -> str:
    """Return the normalized code. Raises InvalidInput if create_code would."""
    code = normalize_code(code)
    if not (CODE_MIN <= len(code) <= CODE_MAX and code.isascii()):
        problem = f"Write {CODE_MIN} to {CODE_MAX} letters of A to Z and digits."
        raise InvalidInput(fields={"code": [problem]})
    validate_terms(terms, redeemed=0)
    if PromotionCode.objects.filter(code=code).exists():
        raise InvalidInput(fields={"code": [_TAKEN.format(code)]})
    return code


def lock_code(*, code_id: UUID) -> PromotionCode:
    """Lock a code against redemption and change until the transaction ends. Raises NotFound."""
    code = PromotionCode.objects.select_for_update(no_key=True).filter(id=code_id).first()
    if code is None:
        raise NotFound
    return code


def update_code(code: PromotionCode, *, terms: CodeTerms) -> None:
    """Change the terms of a locked code. Past redemptions stay as they are. Raises InvalidInput."""
    validate_terms(terms, redeemed=code.redemption_count)
    for name, value in asdict(terms).items():
        setattr(code, name, value)
    code.save(update_fields=list(asdict(terms)))


def set_code_active(code: PromotionCode, *, is_active: bool) -> None:
    """Stop a locked code, or let it be redeemed again."""
    code.is_active = is_active
    code.save(update_fields=["is_active"])


def validate_terms(terms: CodeTerms, *, redeemed: int) -> None:
    """Raises InvalidInput. `redeemed`: how often the code has been redeemed."""
    problems: dict[str, list[str]] = {}
    for name, least, most in (
        ("credits", 1, MAX_CREDITS),
        ("max_per_user", 1, MAX_CREDITS),
        ("lot_days", 1, MAX_LOT_DAYS),
        ("max_redemptions", max(redeemed, 1), 2**31 - 1),
    ):
        value = getattr(terms, name)
        if value is not None and not least <= value <= most:
            problems[name] = [f"{name}: must be from {least} to {most}."]
    if terms.starts_at and terms.ends_at and terms.starts_at >= terms.ends_at:
        problems["ends_at"] = ["It must end after it starts."]
    if problems:
        raise InvalidInput(fields=problems)
