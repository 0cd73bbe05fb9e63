"""The App Store's routes and state."""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.apple.faults import Outages
from sandbox.apple.storekit.consumption import Consumption
from sandbox.apple.storekit.controls import Controls
from sandbox.apple.storekit.history_api import HistoryApi
from sandbox.apple.storekit.notification_history import NotificationHistory
from sandbox.apple.storekit.payloads import ENVIRONMENTS
from sandbox.apple.storekit.state import StoreState
from sandbox.apple.storekit.transactions import Transactions
from sandbox.environment import ServedApp

APIS = (Transactions, HistoryApi, Consumption, NotificationHistory)


class StoreKit:
    def __init__(
        self, *, outages: Outages, app: ServedApp, url: str, keys_folder: Path | None
    ) -> None:
        """`url` is the sandbox's own URL, which the certificates contain."""
        self._state = StoreState.create(outages=outages, app=app, url=url, keys_folder=keys_folder)

    def reset(self) -> None:
        self._state.reset()

    async def aclose(self) -> None:
        await self._state.notifications.aclose()

    def routes(self) -> list[Route]:
        apis = [api(environment, self._state) for environment in ENVIRONMENTS for api in APIS]
        return [
            Route("/apple/storekit/root.cer", self.root, methods=["GET"]),
            *self._state.responder.routes(),
            *Controls(self._state).routes(),
            *(route for api in apis for route in api.routes()),
        ]

    async def root(self, _: Request) -> Response:
        return Response(self._state.chain.root.der, media_type="application/pkix-cert")
