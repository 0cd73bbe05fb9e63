"""`/control/apple/…` for the App Store: purchases and events.

`at` is the time of the event and of the signature: milliseconds or an ISO date, by default now.
`deliver` says whether the notification arrives. A lost notification is in Apple's notification
history as failed and is sent when `again` names it. By default, a purchase sends no notification,
because the phone reports it, and every other event sends one.
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from sandbox.apple.jws import decode_unverified
from sandbox.apple.storekit import purchases
from sandbox.apple.storekit.events import EVENT_TYPES, TEST, TYPES, Event
from sandbox.apple.storekit.invalid_signatures import FLAWS, InvalidSigner
from sandbox.apple.storekit.notifications import Notification
from sandbox.apple.storekit.payloads import ENVIRONMENTS, PRODUCTION, SUBSCRIPTION, Transaction
from sandbox.apple.storekit.signing import sign
from sandbox.apple.storekit.state import StoreState
from sandbox.strict_body import BadRequest, StrictBody
from sandbox.times import now_in_milliseconds

TIMING_FIELDS = ("at", "deliver")
CONSUMPTION_REASONS = (
    "UNINTENDED_PURCHASE",
    "FULFILLMENT_ISSUE",
    "UNSATISFIED_WITH_PURCHASE",
    "LEGAL",
    "OTHER",
)


class Controls:
    def __init__(self, state: StoreState) -> None:
        self._store = state.store
        self._notifications = state.notifications
        self._authenticator = state.authenticator
        self._responder = state.responder
        self._chain = state.chain
        self._app = state.app

    def routes(self) -> list[Route]:
        return [
            Route("/control/apple/purchase", self.purchase, methods=["POST"]),
            Route("/control/apple/notify", self.notify, methods=["POST"]),
            Route("/control/apple/forge", self.forge, methods=["POST"]),
            Route("/control/apple/consumption", self.consumption, methods=["GET"]),
            Route("/control/apple/app", self.configure_app, methods=["POST"]),
            Route("/control/apple/ocsp", self.configure_ocsp, methods=["POST"]),
        ]

    async def purchase(self, request: Request) -> JSONResponse:
        fields = await StrictBody.parse(request)
        fields.allow_only((*purchases.FIELDS, *TIMING_FIELDS))
        at, is_lost = _parse_timing(fields, by_default=False)
        transaction = purchases.parse_purchase(fields, at=at, store=self._store, app=self._app)
        is_resubscription = self._store.find_subscription(transaction) is not None
        self._store.add(transaction, renewal=purchases.parse_renewal(fields, transaction))
        subtype = None
        if transaction.type == SUBSCRIPTION:
            subtype = "RESUBSCRIBE" if is_resubscription else "INITIAL_BUY"
        notification = self._notifications.create(
            "SUBSCRIBED" if subtype else "ONE_TIME_CHARGE", subtype, transaction=transaction, at=at
        )
        return await self._deliver_and_describe(notification, transaction, is_lost=is_lost)

    async def notify(self, request: Request) -> JSONResponse:
        """Apply an event to a purchase and send its notification, or resend a notification."""
        fields = await StrictBody.parse(request)
        if again := fields.find_text("again"):
            fields.allow_only(("again",))
            return await self._deliver_and_describe(self._get_notification(again))
        notification_type = fields.get_choice("type", TYPES)
        if notification_type == TEST:
            fields.allow_only(("type", "environment", *TIMING_FIELDS))
            environment = fields.find_choice("environment", ENVIRONMENTS) or PRODUCTION
            at, is_lost = _parse_timing(fields)
            test = self._notifications.create_test(environment, at=at)
            return await self._deliver_and_describe(test, is_lost=is_lost)
        return await self._apply_event(notification_type, fields)

    async def forge(self, request: Request) -> JSONResponse:
        """Create a forged transaction or notification that looks like Apple's.

        With `inner`, only the transaction within a genuine notification is forged.
        """
        fields = await StrictBody.parse(request)
        fields.allow_only(("flaw", "transaction_id", "notification_uuid", "inner"))
        flaw = FLAWS[fields.get_choice("flaw", FLAWS)]
        if notification_uuid := fields.find_text("notification_uuid"):
            payload = self._get_notification(notification_uuid).payload
            if fields.find_flag("inner"):
                signed = sign(self._with_forged_transaction(payload, flaw), self._chain)
            else:
                signed = flaw(payload, self._chain)
            return JSONResponse({"signed_payload": signed})
        transaction = self._get_transaction(fields.get_text("transaction_id"))
        payload = transaction.payload(signed_at=now_in_milliseconds())
        return JSONResponse({"signed_transaction": flaw(payload, self._chain)})

    async def consumption(self, _: Request) -> JSONResponse:
        """Return the app's consumption statements, oldest first."""
        return JSONResponse({"consumption": self._store.consumption_calls})

    async def configure_app(self, request: Request) -> JSONResponse:
        """Configure the app in App Store Connect. Omitted fields stay unchanged."""
        fields = await StrictBody.parse(request)
        fields.allow_only(("released", "notification_url"))
        is_released, url = fields.find_flag("released"), fields.find_url_or_none("notification_url")
        if is_released is not None:
            self._authenticator.is_released = is_released
        if fields.has("notification_url"):
            self._notifications.url = url
        return JSONResponse(
            {
                "released": self._authenticator.is_released,
                "notification_url": self._notifications.url,
            }
        )

    async def configure_ocsp(self, request: Request) -> JSONResponse:
        return JSONResponse(self._responder.configure(await StrictBody.parse(request)))

    async def _apply_event(self, notification_type: str, fields: StrictBody) -> JSONResponse:
        subtype = _parse_subtype(notification_type, fields)
        event_type = EVENT_TYPES[notification_type, subtype]
        fields.allow_only(
            ("type", "subtype", "transaction_id", "override", *TIMING_FIELDS, *event_type.fields)
        )
        at, is_lost = _parse_timing(fields)
        override = fields.find_object("override")
        reason = fields.find_choice("consumption_request_reason", CONSUMPTION_REASONS)
        transaction = self._get_transaction(fields.get_text("transaction_id"))
        # Applied last, after all other fields are validated. Only the effect's own fields may still
        # be invalid.
        affected = event_type.effect(Event(self._store, transaction, at, fields))
        self._store.record_change(affected)
        notification = self._notifications.create(
            notification_type,
            subtype,
            transaction=affected,
            at=at,
            reason=reason,
            override=override,
        )
        return await self._deliver_and_describe(notification, affected, is_lost=is_lost)

    async def _deliver_and_describe(
        self,
        notification: Notification,
        transaction: Transaction | None = None,
        *,
        is_lost: bool = False,
    ) -> JSONResponse:
        """Deliver or lose the notification, and return all its data."""
        status = None
        if is_lost:
            self._notifications.record_loss(notification)
        else:
            status = await self._notifications.deliver(notification)
        response: dict[str, Any] = {
            "notification_uuid": notification.uuid,
            "signed_payload": notification.signed_payload,
            "delivered_status": status,
        }
        if transaction is not None:
            payload = transaction.payload(signed_at=notification.signed_at)
            response |= {
                "transaction_id": transaction.transaction_id,
                "original_transaction_id": transaction.original_transaction_id,
                "signed_transaction": sign(payload, self._chain),
            }
        return JSONResponse(response)

    def _with_forged_transaction(
        self, payload: dict[str, Any], flaw: InvalidSigner
    ) -> dict[str, Any]:
        genuine = payload.get("data", {}).get("signedTransactionInfo")
        if genuine is None:
            raise BadRequest("That notification has no transaction in it.")
        _, transaction = decode_unverified(genuine)
        data = payload["data"] | {"signedTransactionInfo": flaw(transaction, self._chain)}
        return payload | {"data": data}

    def _get_transaction(self, transaction_id: str) -> Transaction:
        found = self._store.find(transaction_id)
        if found is None:
            raise BadRequest(f"transaction_id {transaction_id} was never bought here.")
        return found

    def _get_notification(self, notification_uuid: str) -> Notification:
        found = self._notifications.find(notification_uuid)
        if found is None:
            raise BadRequest(f"No notification {notification_uuid} was ever written here.")
        return found


def _parse_timing(fields: StrictBody, *, by_default: bool = True) -> tuple[int, bool]:
    """Return the time of the event, and whether its notification is lost."""
    at, deliver = fields.find_milliseconds("at"), fields.find_flag("deliver")
    is_lost = not (by_default if deliver is None else deliver)
    return now_in_milliseconds() if at is None else at, is_lost


def _parse_subtype(notification_type: str, fields: StrictBody) -> str | None:
    known = {subtype for name, subtype in EVENT_TYPES if name == notification_type}
    choices = sorted(filter(None, known))
    if not choices:
        if fields.has("subtype"):
            raise BadRequest(f"{notification_type} has no subtype.")
        return None
    subtype = fields.find_choice("subtype", choices)
    if subtype not in known:
        raise BadRequest(f"subtype is missing: one of {', '.join(choices)}.")
    return subtype
