"""Whatever Apple signs, and whoever tells us of it, in any order: credits, debt and tier are those
of a simple model (tests.helpers.purchase_model)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.utils import timezone
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from accounts.models import Tier
from billing import queries
from billing.due_work import (
    APPLY_NOTIFICATIONS,
    BACKFILL_NOTIFICATIONS,
    CHECK_SUBSCRIPTIONS,
    SYNC_PURCHASES,
    UPDATE_ACCOUNT_TOKENS,
)
from billing.models import BackfillCursor, Notification, Product, ProductKind
from credits.models import Kind, LedgerEntry, Lot, Wallet
from tests.billing.conftest import (
    FIFTY,
    PREMIUM,
    TEN,
    AppStore,
    deliver,
    ledger_is_balanced,
    sign_in,
    update_credits,
)
from tests.helpers.budget import budgeted
from tests.helpers.phone import Phone
from tests.helpers.purchase_model import (
    CREDITS,
    PLUS,
    TRIAL_CREDITS,
    Person,
    PurchaseModel,
    SubscriptionModel,
)
from tests.helpers.sandbox_control import Sandbox
from tests.helpers.stateful import RolledBackMachine, run
from tests.helpers.wallet_model import FULL_SHARE, ModelLot

DAY, INSTANT = timedelta(days=1), timedelta(milliseconds=1)
GRACE = 16 * DAY
# So long ago does a subscription begin that its renewals and its end lie behind us.
SUBSCRIBED = 100 * DAY
PARTS = [20_000, 33_333, 50_000]


class News:
    """A notification, which may be delivered, doubled, or lost until it is looked for."""

    def __init__(self, about, event, signed_at):
        self.about, self.event, self.signed_at = about, event, signed_at
        self.state = about.state
        self.grace_until = about.line and about.line.grace_until

    def is_heard(self):
        self.about.hear(self.signed_at, self.state)
        if self.about.line:
            self.about.line.hear(self.signed_at, self.grace_until)


class Store(RolledBackMachine):
    """Each run is somebody who buys, a stranger, and what Apple tells of it."""

    news = Bundle("news")
    jobs = Bundle("jobs")

    def __init__(self):
        super().__init__()
        self.store = AppStore(Sandbox())
        self.store.sandbox.control("reset")
        Product.objects.create(
            product_id=PLUS,
            kind=ProductKind.SUBSCRIPTION,
            name="Plus",
            credits=CREDITS[PLUS],
            period="P1M",
        )
        Product.objects.filter(product_id=PREMIUM).update(trial_credits=TRIAL_CREDITS)
        # One walk finds all: nothing of this arrives by itself, and nothing is of Apple's sandbox.
        BackfillCursor.objects.exclude(environment="Production", scope="failed").delete()
        self.me, self.stranger = Person(Phone().sign_in()), Person(Phone().sign_in())
        self.people = [self.me, self.stranger]
        self.purchase, self.untold = [], {}
        self.is_told = True
        self.line = None
        self.began_at = self.shop_at = in_milliseconds(timezone.now())
        self.line_at = self.began_at - SUBSCRIBED

    # --- Apple's clocks: of what is bought now, and of the subscription, which catches up ---

    def now_in_the_shop(self):
        self.shop_at = max(self.shop_at + INSTANT, in_milliseconds(timezone.now()))
        return self.shop_at

    def later_in_the_line(self, until=None):
        self.line_at = min(max(self.line_at, until or self.line_at), self.began_at) + INSTANT
        return self.line_at

    def later(self, about):
        return self.later_in_the_line() if about.line else self.now_in_the_shop()

    # --- what happens at Apple, each with the notification of it ---

    def event(self, about, event, at):
        about.first_told = about.first_told or event
        self.untold[event["notification_uuid"]] = news = News(about, event, at)
        if self.is_reachable:
            self.apple_tells([news])
        return news

    def notify(self, what, about, *, at, to=None, **fields):
        """`to` is the period that it happens to, where it brings a further one."""
        happened_to = (to or about).first_told
        event = self.store.notify(what, happened_to, at=as_apple_counts(at), **fields)
        return self.event(about, event, at)

    @rule(
        target=news,
        product=st.sampled_from([TEN, FIFTY]),
        quantity=st.integers(1, 2),
        is_named=st.booleans(),
    )
    def buy(self, product, quantity, is_named):
        owner = self.me if is_named else None
        about = PurchaseModel(product, owner=owner, quantity=quantity)
        self.purchase.append(about)
        at = self.now_in_the_shop()
        event = self.store.buy(
            product, phone=owner and owner.phone, quantity=quantity, at=as_apple_counts(at)
        )
        return self.event(about, event, at)

    def period(self, product, *, begins, **how):
        line = self.line
        about = PurchaseModel(product, owner=line.owner, line=line, begins=begins, **how)
        line.periods.append(about)
        self.purchase.append(about)
        return about

    def may_subscribe(self):
        line = self.line
        return not line or line.owner.has_left or line.is_over or line.latest.revoked_at

    @initialize(target=news, is_reachable=st.booleans(), is_free=st.booleans())
    def subscribe(self, is_reachable, is_free):
        self.is_reachable = is_reachable
        return self.subscribe_again(after=0, is_free=is_free)

    @precondition(may_subscribe)
    @rule(target=news, after=st.integers(0, 20), is_free=st.booleans())
    def subscribe_again(self, after, is_free):
        """After the end or a refund, or as somebody else; with a trial or a free win-back offer."""
        again = {}
        if self.line is None or self.line.owner.has_left:
            self.line = SubscriptionModel(self.me)
        else:
            again["original_transaction_id"] = self.line.periods[0].id
        self.line.is_over = self.line.is_failing = False
        self.line.grace_until = None
        at = self.later_in_the_line(self.line_at + after * DAY)
        about = self.period(PREMIUM, begins=at, is_free=is_free)
        if is_free:
            again |= {"offer_type": 4 if again else 1, "offer_discount_type": "FREE_TRIAL"}
            again |= {"price": 0, "renewal_price": 9_990}
        phone = self.line.owner.phone
        event = self.store.subscribe(phone=phone, at=as_apple_counts(at), **again)
        return self.event(about, event, at)

    def period_is_over(self):
        line = self.line
        is_running = line and not line.is_over and not line.is_failing
        return is_running and line.latest.ends < self.began_at

    @precondition(period_is_over)
    @rule(target=news, how=st.sampled_from(["renewal", "failure", "grace", "end"]))
    def a_period_ends(self, how):
        line, before = self.line, self.line.latest
        at = self.later_in_the_line(before.ends)
        if how == "renewal":
            about = self.period(before.product, begins=before.ends, is_renewal=True)
            return self.notify("DID_RENEW", about, to=before, at=at)
        if how == "end":
            line.is_over = True
            return self.notify("EXPIRED", before, subtype="VOLUNTARY", at=at)
        line.is_failing, fields = True, {}
        if how == "grace":
            line.grace_until = at + GRACE
            expires = as_apple_counts(line.grace_until)
            fields = {"subtype": "GRACE_PERIOD", "grace_period_expires_date": expires}
        return self.notify("DID_FAIL_TO_RENEW", before, at=at, **fields)

    @precondition(lambda self: self.line and self.line.is_failing)
    @rule(target=news, how=st.sampled_from(["recovery", "end of grace", "end"]))
    def a_failure_ends(self, how):
        line, before = self.line, self.line.latest
        at = self.later_in_the_line(self.line_at + 5 * DAY)
        if how == "end of grace":
            line.grace_until = at
            return self.notify("GRACE_PERIOD_EXPIRED", before, at=at)
        line.is_failing, line.grace_until = False, None
        if how == "end":
            line.is_over = True
            return self.notify("EXPIRED", before, subtype="BILLING_RETRY", at=at)
        about = self.period(before.product, begins=at, is_renewal=True)
        return self.notify("DID_RENEW", about, to=before, subtype="BILLING_RECOVERY", at=at)

    def may_upgrade(self):
        line = self.line
        if not line or line.is_over or line.is_failing or line.latest.revoked_at:
            return False
        return line.latest.product == PREMIUM and self.line_at < line.latest.ends - DAY

    @precondition(may_upgrade)
    @rule(target=news, after=st.sampled_from([5, 10, 20]))
    def upgrade(self, after):
        before = self.line.latest
        at = self.later_in_the_line(min(before.begins + after * DAY, before.ends - DAY))
        about = self.period(PLUS, begins=at)
        change = {"subtype": "UPGRADE", "product_id": PLUS}
        return self.notify("DID_CHANGE_RENEWAL_PREF", about, to=before, at=at, **change)

    @rule(target=news, one=news, share=st.just(FULL_SHARE) | st.sampled_from(PARTS))
    def refund(self, one, share):
        about = one.about
        about.revoked_at, about.share = self.later(about), share
        return self.notify("REFUND", about, at=about.revoked_at, revocation_percentage=share)

    @rule(target=news, one=news)
    def revoke(self, one):
        about = one.about
        about.revoked_at, about.share = self.later(about), FULL_SHARE
        return self.notify("REVOKE", about, at=about.revoked_at)

    @rule(target=news, one=news)
    def reverse(self, one):
        about = one.about
        about.revoked_at, about.share = None, 0
        return self.notify("REFUND_REVERSED", about, at=self.later(about))

    # --- what we hear of it ---

    @rule(some=st.lists(news, min_size=1, max_size=3))
    def apple_tells(self, some):
        """In any order, and some of it twice."""
        for one in some:
            assert deliver(one.event).status_code == 200
        self.workers_work()

    @rule()
    def an_outage_begins_or_ends(self):
        self.is_reachable = not self.is_reachable

    @precondition(lambda self: len(self.untold) > 3)
    @rule()
    def reconcile(self):
        """What never arrived is found."""
        BackfillCursor.objects.update(due_at=timezone.now())
        while BACKFILL_NOTIFICATIONS.run_batch(now=timezone.now()):
            pass
        UPDATE_ACCOUNT_TOKENS.run_batch(now=timezone.now())
        self.workers_work()
        assert not self.untold

    @rule(one=news, is_stranger=st.booleans(), by_name=st.booleans())
    def a_phone_tells(self, one, is_stranger, by_name):
        about, who = one.about, self.stranger if is_stranger else self.me
        signed_at, state = one.signed_at, one.state
        if by_name and (about.heard_at or not about.line):
            answer = update_credits(who.phone, about.first_told)
            # Apple is asked about what we do not know, and says how it is now.
            signed_at, state = self.now_in_the_shop(), about.state
            if about.heard_at:
                signed_at, state = about.heard_at, (about.heard_revoked_at, about.heard_share)
        else:
            held = {"signed_transaction": one.event["signed_transaction"]}
            answer = who.phone.post("update-credits", held)
        about.hear(signed_at, state, claimant=who)
        self.workers_work()
        if about.owner is not who:
            assert answer.status_code == 409, answer.content
        elif about.heard_share == FULL_SHARE:
            assert answer.status_code == 400, answer.content
        else:
            assert answer.json()["credits_added"] == about.credits, answer.content

    def workers_work(self):
        """What is due is applied, one after the other, so that the model hears it like that."""
        self.is_told = True
        waiting = Notification.objects.filter(due_at__isnull=False)
        for row in waiting.order_by("id"):
            waiting.update(due_at=timezone.now() + DAY)
            waiting.filter(id=row.id).update(due_at=timezone.now())
            assert APPLY_NOTIFICATIONS.run_batch(now=timezone.now()) == 1
            self.untold.pop(str(row.notification_uuid)).is_heard()
        SYNC_PURCHASES.run_batch(now=timezone.now())

    # --- what becomes of the credits ---

    @rule(target=jobs, seconds=st.sampled_from([4, 8, 12]))
    def order(self, seconds):
        self.is_told, wallet = True, self.me.wallet
        answer = self.me.phone.generate(settings={"duration": seconds})
        if wallet.debt or wallet.balance < seconds:
            assert answer.status_code == 402, answer.content
            return multiple()
        assert answer.status_code == 200, answer.content
        return self.me, answer.json()["job_id"], wallet.debit(seconds)

    @rule(job=consumes(jobs))
    def cancel(self, job):
        """Before anybody has begun with it, so its credits come back."""
        who, job_id, parts = job
        if who.has_left:
            return
        self.is_told = True
        answer = who.phone.post("cancel-video-job", {"job_id": job_id})
        assert answer.json()["refunded"], answer.content
        entry = LedgerEntry.objects.get(job_id=job_id, kind=Kind.REFUND)
        ids = [str(lot.id) for lot in lots_of(who)]
        returned = [(who.wallet.lots[ids.index(lot_id)], change) for lot_id, change in entry.lots]
        who.wallet.refund(parts, since=0, returned=returned)

    @precondition(lambda self: not self.me.has_account)
    @rule(exists=st.booleans())
    def sign_in(self, exists):
        """The guest becomes an account, or part of one, which has had its welcome."""
        who = None
        if exists:
            who = sign_in(Phone().sign_in(), self.store.sandbox)
            welcome, *_ = self.me.wallet.lots
            welcome.expire(welcome.remaining)
            self.me.wallet.lots.append(ModelLot(10, 10))
        sign_in(self.me.phone, self.store.sandbox, sub=who)
        self.is_told = self.me.has_account = True

    @precondition(lambda self: self.purchase and len(self.people) == 2)
    @rule()
    def leave(self):
        """For good; who comes next owns nothing of it."""
        assert self.me.phone.post("delete-account").status_code == 200
        self.is_told = self.me.has_left = True
        self.me = Person(Phone().sign_in())
        self.people.append(self.me)

    # --- what always holds ---

    @invariant()
    def all_is_as_the_model_says(self):
        if not self.is_told:  # nothing happened but at Apple
            return
        self.is_told = False
        assert ledger_is_balanced()
        self.each_transaction_was_granted_once()
        for who in self.people:
            self.the_wallet_is_as_the_model_says(who)
            if not who.has_left:
                self.the_tier_follows_the_subscription(who)

    def each_transaction_was_granted_once(self):
        granted = LedgerEntry.objects.filter(kind=Kind.GRANT, transaction_id__isnull=False)
        brought = {one.id: one.lot.remaining for one in self.purchase if one.lot}
        assert sorted(granted.values_list("transaction_id", flat=True)) == sorted(brought)
        found = Lot.objects.filter(transaction_id__isnull=False)
        assert dict(found.values_list("transaction_id", "remaining")) == brought

    def the_wallet_is_as_the_model_says(self, who):
        found = Wallet.objects.get(user_id=who.phone.user_id)
        assert (found.balance, found.debt) == (who.wallet.balance, who.wallet.debt)
        lots = [(lot.remaining, lot.clawed_back, lot.debt_from_clawback) for lot in lots_of(who)]
        assert lots == [
            (lot.remaining, lot.clawed_back, lot.debt_from_clawback) for lot in who.wallet.lots
        ]
        assert all(remaining >= 0 for remaining, *_ in lots)

    def the_tier_follows_the_subscription(self, who):
        now = timezone.now()
        lines = {one.line for one in self.purchase if one.line}
        access = [line.access() for line in lines]
        until = max([end for owner, end in access if owner is who], default=None)
        found = queries.subscription_status(who.phone.user_id, now=now)
        assert found.expires_at == until
        assert found.tier == (Tier.PREMIUM if until and until > now else Tier.FREE)

    def at_the_end(self):
        """All that was lost is found, and Apple, when asked, says nothing else."""
        self.reconcile()
        CHECK_SUBSCRIPTIONS.run_batch(now=timezone.now())
        self.all_is_as_the_model_says()


def in_milliseconds(moment):
    """As exact as Apple is."""
    return datetime.fromtimestamp(as_apple_counts(moment) / 1000, UTC)


def as_apple_counts(moment):
    return round(moment.timestamp() * 1000)


def lots_of(who):
    """In the order in which they came."""
    return list(Lot.objects.filter(wallet__user_id=who.phone.user_id).order_by("id"))


@budgeted
def test_notifications_in_any_order_match_the_model(db, sandbox, settings):
    settings.FRAUD_HOLD_SCORE = 0

    run(Store, examples=10, steps=30)
