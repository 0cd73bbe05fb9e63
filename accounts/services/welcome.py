"""The welcome credits: once for each piece of hardware, through races, crashes and retries.

Apple keeps one bit for it, without compare-and-set, and gives another device token with each call:
only the bit shows that two tokens are one phone. So one new phone at a time goes from reading the
bit to having set it. That phone has the turn (WelcomeTurn), a leased row: no lock and no
transaction is open while Apple is called. The order is

    1. read the bit                     concurrently; most phones are known or had their welcome
    2. commit a WelcomeClaim            this phone wants the credits
    3. commit: the turn is the claim's, and the bit may be ours from here on
       (if another turn began since 1, the bit is read again first: a third call to Apple)
    4. set the bit                      repeated by the process that finishes this turn
    5. commit: the claim has won, the turn is free
    6. commit user, wallet, grant, device and session (services.devices)

At most one welcome: a claim sets the bit only if it read 0 within its turn, or before it while the
turn was free and without another turn in between. An earlier claim of the same hardware that set
the bit shows in that reading.

None is lost: a process that dies between 3 and 5 leaves the turn with the claim. After TURN_SECONDS
any other call, or a worker, finishes the turn with the token that the claim keeps: a bit that is
set by now was set for this claim, since no other phone had the turn. The phone's retry finds the
claim won. A retry during the claim's own turn uses the kept token too: its new token may be another
phone's, whose bit says nothing. The new token counts only if Apple no longer accepts the kept one.

A phone that does not get the turn within WELCOME_WAIT_SECONDS is let in without the credits; a
worker grants them later.

Apple writes both bits together. A ban, which sets the second bit, takes the turn too
(`reserve_bits`): else a welcome could write back the second bit as it read it before the ban.

Two cases remain: (a) Apple's response to 4 is lost, and Apple then refuses the same token
permanently: the turn ends undecided. If that phone checks in under another device_id before it
returns under the first, it gets two welcomes: one more for each such accident, which no phone can
cause. (b) A phone that is wiped between our crash and its retry has lost its welcome to its old
device_id: nothing shows then that it is the same phone.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from uuid import UUID

import structlog
from cryptography.fernet import InvalidToken
from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Coalesce

from accounts.apple import device_check, identity_tokens
from accounts.apple.device_check import Bits
from accounts.due_work import GRANT_WELCOMES
from accounts.errors import AppleOutcomeUnknown, IdentityServiceUnavailable, InvalidDevice
from accounts.models import Device, User, WelcomeClaim, WelcomeClaimQuerySet, WelcomeTurn
from credits import services as credit_services
from rendio.common import clock
from rendio.common.background import purge
from rendio.common.background.due_work import due_work

logger = structlog.get_logger(__name__)

# Longer than one call to Apple may take (device_check.TIMEOUT_SECONDS). The lease is extended
# before each call.
TURN_SECONDS = 20
POLL_SECONDS = 0.05
# For claims without a result, whose phone never retried.
RETENTION = timedelta(days=1)


class WelcomeStatus(Enum):
    """The status of a phone's welcome."""

    NOT_DUE = "not due"  # this hardware has had it, or its claim was decided before
    DUE = "due"  # Apple has set the bit for this claim: grant the credits
    WAITING = "waiting"  # another claim has the turn: let the phone in, a worker grants


@dataclass(frozen=True)
class ClaimResult:
    bits: Bits
    status: WelcomeStatus


@dataclass(frozen=True)
class Turn:
    """A claim's turn. `bits` as they were read; None if they must be read again."""

    claim: WelcomeClaim
    number: int
    bits: Bits | None


class TurnLost(Exception):
    """Another process took over the turn before anything was sent to Apple."""


class TurnUnavailable(Exception):
    """Another process had the turn for as long as this one waited."""


class AlreadyDecided(Exception):
    """There is no turn to take: the claim was decided meanwhile."""

    def __init__(self, status: WelcomeStatus) -> None:
        super().__init__(status.value)
        self.status = status


def claim_welcome(*, device_id: UUID, device_token: str, now: datetime) -> ClaimResult:
    """Query Apple about an unknown phone, and win its welcome if it had none.

    Calls Apple up to three times, and may wait; must not run inside a transaction. Raises
    InvalidDevice, IdentityServiceUnavailable: the claim then stays open for the phone's retry.
    """
    seen = find_free_turn()
    bits = device_check.query_bits(device_token)
    claim = open_claim(
        device_id=device_id, device_token=device_token, had_welcome=bits.bit0, now=now
    )
    if claim is None:
        return ClaimResult(bits, WelcomeStatus.NOT_DUE)
    return ClaimResult(bits, _run_turn(claim, device_token=device_token, bits=bits, seen=seen))


def hash_token(device_token: str) -> str:
    return hashlib.sha256(device_token.encode()).hexdigest()


# --- Turns ----------------------------------------------------------------------------------------


def find_free_turn() -> int | None:
    """The number of the latest turn if it is over; None while a process has the turn."""
    free = WelcomeTurn.objects.filter(claim=None, leased_until=None)
    return free.values_list("number", flat=True).first()


@transaction.atomic(durable=True)
def open_claim(
    *, device_id: UUID, device_token: str, had_welcome: bool, now: datetime
) -> WelcomeClaim | None:
    """Step 2: the phone's claim, or None if no welcome is due.

    A set bit (`had_welcome`) means no, unless it may have been set for a claim of this phone.
    """
    if Device.objects.filter(device_id=device_id).exists():
        return None
    token_hash = hash_token(device_token)
    claims = WelcomeClaim.objects.about(device_id=device_id, token_hash=token_hash)
    if claims.decided().exists() or claims.filter(is_user_waiting=True).exists():
        return None
    claim = claims.order_by(F("won_at").asc(nulls_last=True), "-updates_in_doubt").first()
    if had_welcome and (claim is None or not claim.updates_in_doubt):
        return None
    if claim is None:
        new = {"device_id": device_id, "started_at": now}
        return WelcomeClaim.objects.get_or_create(token_hash=token_hash, defaults=new)[0]
    if had_welcome and not WelcomeTurn.objects.filter(claim=claim).exists():
        _mark_won(claim, now=now)  # case (a) above: its turn ended undecided
    WelcomeClaim.objects.filter(pk=claim.pk).update(started_at=now)  # keep it from being purged
    return claim


@transaction.atomic(durable=True)
def take_turn(
    claim: WelcomeClaim, *, device_token: str, bits: Bits | None, seen: int | None
) -> Turn | None:
    """Step 3: the turn for this claim; None while another claim has it.

    `bits` were read while the turn was free and had the number `seen`; `seen` is None if it was not
    free. An abandoned turn whose bit may have been set is returned instead: it must be finished
    first. Raises AlreadyDecided.
    """
    turn = WelcomeTurn.objects.select_for_update().get()
    claim = _refresh_undecided(claim)
    # Not the caller's `now`: time passes while a call waits.
    now = clock.now()
    is_ours = turn.claim_id == claim.pk
    if not is_ours and turn.leased_until and turn.leased_until > now:
        return None
    if not is_ours and turn.claim_id:
        abandoned = WelcomeClaim.objects.get(pk=turn.claim_id)
        if abandoned.updates_in_doubt:
            _extend_lease(turn, abandoned, now=now)
            return Turn(abandoned, turn.number, bits=None)
    if not (is_ours and claim.updates_in_doubt):
        # Else keep the token that the bit may have been set with.
        claim.device_token_encrypted = identity_tokens.encrypt(device_token)
    if is_ours:
        _extend_lease(turn, claim, now=now)
        return Turn(claim, turn.number, bits=None)
    is_current = bits is not None and seen == turn.number
    turn.number += 1
    turn.claim = claim
    if is_current:
        claim.updates_in_doubt += 1
    _extend_lease(turn, claim, now=now)
    return Turn(claim, turn.number, bits=bits if is_current else None)


@contextmanager
def reserve_bits() -> Iterator[None]:
    """Take the turn while both bits are written for another reason than a welcome.

    Commits the turn before the block and frees it afterwards. Bits that were read before or during
    the block are read again. Raises TurnUnavailable. If the block raises AppleOutcomeUnknown, the
    turn stays taken until its lease ends, as the write may still arrive.
    """
    number = _wait_for_free_turn()
    is_over = True
    try:
        yield
    except AppleOutcomeUnknown:
        is_over = False
        raise
    finally:
        if is_over:
            WelcomeTurn.objects.filter(claim=None, number=number).update(leased_until=None)


def _wait_for_free_turn() -> int:
    give_up_at = time.monotonic() + settings.WELCOME_WAIT_SECONDS
    while (number := _take_turn_without_claim()) is None:
        if time.monotonic() >= give_up_at:
            raise TurnUnavailable
        time.sleep(POLL_SECONDS)
    return number


@transaction.atomic(durable=True)
def _take_turn_without_claim() -> int | None:
    turn = WelcomeTurn.objects.select_for_update().get()
    now = clock.now()
    # The next phone, or a worker, finishes a turn that a claim has abandoned.
    if turn.claim_id or (turn.leased_until and turn.leased_until > now):
        return None
    turn.number += 1
    turn.leased_until = now + timedelta(seconds=TURN_SECONDS)
    turn.save(update_fields=["number", "leased_until"])
    return turn.number


def finish_turn(turn: Turn, *, device_token: str) -> bool:
    """Steps 3 to 5 for the claim that has the turn. Returns whether it won the welcome.

    Raises TurnLost, InvalidDevice and IdentityServiceUnavailable. If Apple certainly did nothing
    the turn is free; else it stays with the claim, and the next check finishes it.
    """
    bits = turn.bits
    if bits is None:
        device_token, bits = _reread_bits(turn, device_token=device_token)
    if bits is None:
        return False
    if not bits.bit0:
        set_welcome_bit(turn, device_token=device_token, bits=bits)
    record_won(turn)
    return True


def _reread_bits(turn: Turn, *, device_token: str) -> tuple[str, Bits | None]:
    """The token to continue with and its current bits; no bits if the hardware had its welcome by
    another claim."""
    claim, refused_token = turn.claim, ""
    while True:
        token = _token_for_query(claim, device_token, refused_token=refused_token)
        try:
            bits = device_check.query_bits(token)
        except (InvalidDevice, IdentityServiceUnavailable) as error:
            if isinstance(error, InvalidDevice) and token != device_token:
                refused_token = token
                continue
            _record_failure(turn, error)
            raise
        with transaction.atomic(durable=True):
            row = WelcomeTurn.objects.select_for_update().get()
            if (row.claim_id, row.number) != (turn.claim.pk, turn.number):
                raise TurnLost
            # After the reading: a process that set the bit for this claim committed its doubt
            # before.
            claim = WelcomeClaim.objects.get(pk=turn.claim.pk)
            if token != _token_for_query(claim, device_token, refused_token=refused_token):
                continue  # a parallel call has started an update with another token
            if not bits.bit0:
                claim.updates_in_doubt += 1
            elif not claim.updates_in_doubt:
                _release(row)
                claim.delete()
                return token, None
            claim.device_token_encrypted = identity_tokens.encrypt(token)
            _extend_lease(row, claim, now=clock.now())
            return token, bits


def _token_for_query(claim: WelcomeClaim, device_token: str, *, refused_token: str) -> str:
    """The token of the update in doubt, unless Apple has refused it; else the caller's."""
    if not claim.updates_in_doubt:
        return device_token
    try:
        kept_token = identity_tokens.decrypt(claim.device_token_encrypted)
    except InvalidToken:
        return device_token
    return device_token if kept_token == refused_token else kept_token


def set_welcome_bit(turn: Turn, *, device_token: str, bits: Bits) -> None:
    """Step 4. Raises InvalidDevice, IdentityServiceUnavailable.

    If Apple certainly did nothing, the claim's doubt is removed. Otherwise an outage would let one
    phone collect claims under many device_ids, each of which could pass for the one that set the
    bit.
    """
    try:
        device_check.update_bits(device_token, Bits(bit0=True, bit1=bits.bit1))
    except (InvalidDevice, IdentityServiceUnavailable) as error:
        _record_failure(turn, error, is_undone=not isinstance(error, AppleOutcomeUnknown))
        raise


@transaction.atomic(durable=True)
def record_won(turn: Turn) -> None:
    """Step 5: mark the claim as won and release the turn.

    Idempotent, because two processes may finish a turn at the same time.
    """
    row = WelcomeTurn.objects.select_for_update().get()
    if row.claim_id == turn.claim.pk:
        _release(row)
    _mark_won(turn.claim, now=clock.now())


@transaction.atomic(durable=True)
def _record_failure(turn: Turn, error: Exception, *, is_undone: bool = False) -> None:
    """Apple refused, or did not answer. `is_undone`: the counted update had no effect."""
    row = WelcomeTurn.objects.select_for_update().get()
    claims = WelcomeClaim.objects.filter(pk=turn.claim.pk)
    if is_undone:
        claims.update(updates_in_doubt=F("updates_in_doubt") - 1)
    claim = claims.first()
    if claim is None or row.claim_id != claim.pk:
        return
    now, is_token_bad = clock.now(), isinstance(error, InvalidDevice)
    if claim.updates_in_doubt and not is_token_bad:
        # The next call finishes it.
        row.leased_until = claim.due_at = now
        row.save(update_fields=["leased_until"])
        claim.save(update_fields=["due_at"])
        return
    _release(row)
    if is_token_bad and claim.updates_in_doubt:
        logger.error("welcome_left_in_doubt", claim=claim.token_hash[:12])
    if is_token_bad or not claim.is_user_waiting:
        claim.device_token_encrypted, claim.due_at = "", None
        claim.save(update_fields=["device_token_encrypted", "due_at"])


def _refresh_undecided(claim: WelcomeClaim) -> WelcomeClaim:
    """The claim as it is now. Raises AlreadyDecided."""
    found = WelcomeClaim.objects.filter(pk=claim.pk).first()
    siblings = WelcomeClaim.objects.filter(device_id=claim.device_id, granted_at__isnull=False)
    is_decided = WelcomeClaim.objects.filter(pk=claim.pk).decided().exists()
    if found is None or is_decided or siblings.exists():
        raise AlreadyDecided(WelcomeStatus.NOT_DUE)
    if found.won_at:
        raise AlreadyDecided(WelcomeStatus.DUE)
    return found


def _extend_lease(turn: WelcomeTurn, claim: WelcomeClaim, *, now: datetime) -> None:
    """Extend the turn of this claim; a worker looks after it as well afterwards."""
    turn.leased_until = claim.due_at = now + timedelta(seconds=TURN_SECONDS)
    turn.save(update_fields=["claim", "number", "leased_until"])
    claim.save(update_fields=["device_token_encrypted", "updates_in_doubt", "due_at"])


def _release(turn: WelcomeTurn) -> None:
    turn.claim = turn.leased_until = None
    turn.save(update_fields=["claim", "leased_until"])


def _mark_won(claim: WelcomeClaim, *, now: datetime) -> None:
    """The credits are this installation's; a waiting user gets them from a worker."""
    WelcomeClaim.objects.filter(pk=claim.pk).update(
        won_at=Coalesce(F("won_at"), now), device_token_encrypted="", due_at=None
    )
    WelcomeClaim.objects.filter(pk=claim.pk, is_user_waiting=True, granted_at=None).update(
        due_at=now
    )


# --- Waiting for a turn ---------------------------------------------------------------------------


def _run_turn(
    claim: WelcomeClaim, *, device_token: str, bits: Bits | None, seen: int | None
) -> WelcomeStatus:
    """Wait for the claim's turn and finish it; finish abandoned turns on the way."""
    give_up_at = time.monotonic() + settings.WELCOME_WAIT_SECONDS
    try:
        while turn := _wait_for_turn(
            claim, device_token=device_token, bits=bits, seen=seen, give_up_at=give_up_at
        ):
            if turn.claim.pk != claim.pk:
                _finish_abandoned(turn)
                continue
            try:
                won = finish_turn(turn, device_token=device_token)
                return WelcomeStatus.DUE if won else WelcomeStatus.NOT_DUE
            except TurnLost:
                seen = None
    except AlreadyDecided as decided:
        return decided.status
    return WelcomeStatus.WAITING


def _wait_for_turn(
    claim: WelcomeClaim,
    *,
    device_token: str,
    bits: Bits | None,
    seen: int | None,
    give_up_at: float,
) -> Turn | None:
    """None if the turn did not come in time, or too many calls of this process wait already."""
    if turn := take_turn(claim, device_token=device_token, bits=bits, seen=seen):
        return turn
    with _waiters.one_more() as may_wait:
        while may_wait and time.monotonic() < give_up_at:
            # All waiting calls of this process together query once in POLL_SECONDS.
            time.sleep(POLL_SECONDS * _waiters.count)
            if _seems_available(claim) and (
                turn := take_turn(claim, device_token=device_token, bits=bits, seen=seen)
            ):
                return turn
    return None


def _seems_available(claim: WelcomeClaim) -> bool:
    """Without a lock, so that waiting calls do not queue at the row."""
    is_over = Q(leased_until__lte=clock.now())
    can_be_taken = Q(claim=None, leased_until=None) | Q(claim=claim.pk) | is_over
    return WelcomeTurn.objects.filter(can_be_taken).exists()


def _finish_abandoned(turn: Turn) -> None:
    """Finish the turn of a call that has died. Raises IdentityServiceUnavailable."""
    logger.warning("welcome_turn_taken_over", claim=turn.claim.token_hash[:12])
    try:
        finish_turn(turn, device_token=identity_tokens.decrypt(turn.claim.device_token_encrypted))
    except InvalidToken:
        _record_failure(turn, InvalidDevice())  # its key is gone
    except (InvalidDevice, TurnLost):
        pass  # the turn is free, or another process has it


class _Waiters:
    """Counts the waiting calls of this process: a waiting thread serves no other call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.count = 0

    @contextmanager
    def one_more(self) -> Iterator[bool]:
        with self._lock:
            may_wait = self.count < settings.WELCOME_WAITERS
            self.count += may_wait
        try:
            yield may_wait
        finally:
            with self._lock:
                self.count -= may_wait


_waiters = _Waiters()


# --- Granting -------------------------------------------------------------------------------------


def lock_claims(*, device_id: UUID, token_hash: str) -> WelcomeClaimQuerySet:
    """Lock the claims of this decision; of two calls with one token, the second waits here.

    Returns exactly the locked claims, locked in one order by all: touching a later one is a
    deadlock.
    """
    claims = WelcomeClaim.objects.about(device_id=device_id, token_hash=token_hash)
    locked = list(claims.select_for_update().values_list("token_hash", flat=True))
    return WelcomeClaim.objects.filter(token_hash__in=locked)


def grant_welcome(user: User, *, now: datetime) -> None:
    """Grant the welcome credits. Joins the caller's transaction, which has the claims locked."""
    if settings.WELCOME_CREDITS:
        credit_services.grant(
            user_id=user.id,
            amount=settings.WELCOME_CREDITS,
            source=credit_services.Source.WELCOME,
            reason="welcome",
            now=now,
        )
    user.welcomed_at = now
    user.save(update_fields=["welcomed_at", "updated_at"])


def grant_later(*, device_id: UUID, device_token: str, now: datetime) -> None:
    """The device's user was let in without the credits: a worker grants them as soon as possible.

    Joins the caller's transaction.
    """
    undecided = WelcomeClaim.objects.filter(device_id=device_id, granted_at=None)
    in_doubt = Q(updates_in_doubt__gt=0) & ~Q(device_token_encrypted="")
    undecided.filter(~in_doubt, won_at=None).update(
        device_token_encrypted=identity_tokens.encrypt(device_token)
    )
    undecided.update(is_user_waiting=True, due_at=now, tries=0)
    GRANT_WELCOMES.wake_workers()


def retry_with_token(*, device_id: UUID, device_token: str, now: datetime) -> None:
    """A phone whose user waits for the welcome checked in again: continue with its new token if the
    old one was refused. Joins the caller's transaction."""
    waiting = WelcomeClaim.objects.filter(
        device_id=device_id, is_user_waiting=True, granted_at=None, due_at=None
    )
    if waiting.update(
        device_token_encrypted=identity_tokens.encrypt(device_token), due_at=now, tries=0
    ):
        GRANT_WELCOMES.wake_workers()


@due_work(GRANT_WELCOMES, stop_on=IdentityServiceUnavailable)
def process_claim(claim: WelcomeClaim, *, now: datetime) -> None:
    """Grant the welcome to a user who waits for it, or finish a turn that was abandoned.

    At least once: a worker that dies leaves the claim due.
    """
    has_turn = WelcomeTurn.objects.filter(claim=claim.pk).exists()
    if claim.won_at is None and (claim.is_user_waiting or has_turn):
        try:
            device_token = identity_tokens.decrypt(claim.device_token_encrypted)
            _run_turn(claim, device_token=device_token, bits=None, seen=None)
        except (InvalidDevice, InvalidToken):
            # Not due until the phone brings another token.
            WelcomeClaim.objects.filter(pk=claim.pk).update(device_token_encrypted="", due_at=None)
            return
    _grant_if_won(claim.token_hash, now=now)


@transaction.atomic(durable=True)
def _grant_if_won(token_hash: str, *, now: datetime) -> None:
    """Grant a won claim to its waiting user; a claim without one is no longer due. A user who got a
    welcome meanwhile, by a merge, gets no second one."""
    found = WelcomeClaim.objects.filter(pk=token_hash).first()
    if found is None:
        return
    claims = lock_claims(device_id=found.device_id, token_hash=token_hash)
    claim = claims.get(pk=token_hash)
    if claim.granted_at or not claim.is_user_waiting:
        claims.filter(pk=token_hash).update(due_at=None)
        return
    if claim.won_at is None:
        # The turn did not come: retry soon.
        claims.filter(pk=token_hash).exclude(device_token_encrypted="").update(due_at=now, tries=0)
        return
    user = _lock_waiting_user(claim)
    if user and user.welcomed_at is None:
        grant_welcome(user, now=now)
        logger.info("welcome_granted_later", user_id=str(user.id))
    claims.update(due_at=None)
    claims.filter(granted_at=None).update(granted_at=now, user=user)


def _lock_waiting_user(claim: WelcomeClaim) -> User | None:
    """The device's current user, with the wallet and then the user locked."""
    device = Device.objects.filter(device_id=claim.device_id).first()
    if device is None or device.user_id is None:
        return None
    credit_services.lock_wallet(user_id=device.user_id, through_merge=True)
    device.refresh_from_db(fields=["user"])  # the lock may have waited for a merge
    user = User.objects.select_for_update(no_key=True).filter(id=device.user_id).first()
    return user if user and user.closed_at is None else None


def purge_claims(*, now: datetime) -> int:
    """Delete claims without a welcome that no user waits for. Returns how many."""
    old = WelcomeClaim.objects.filter(
        granted_at=None,
        won_at=None,
        due_at=None,
        updates_in_doubt=0,
        is_user_waiting=False,
        started_at__lt=now - RETENTION,
    )
    return purge.delete_batch(old, order="started_at")
