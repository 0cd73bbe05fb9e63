"""The App Store put together."""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.apple.outages import Outages
from sandbox.apple.storekit import ocsp
from sandbox.apple.storekit.admission import Admission
from sandbox.apple.storekit.certificates import Authority, Chain
from sandbox.apple.storekit.controls import Controls
from sandbox.apple.storekit.notifications import Notifications
from sandbox.apple.storekit.payloads import ENVIRONMENTS
from sandbox.apple.storekit.store import Store
from sandbox.apple.storekit.transactions import Transactions
from sandbox.environment import ServedApp


class StoreKit:
    def __init__(
        self, *, outages: Outages, app: ServedApp, url: str, keys_folder: Path | None
    ) -> None:
        """`url` is where the sandbox listens: the certificates name it."""
        authority = Authority.kept_in(keys_folder) if keys_folder else Authority.new()
        self._chain = Chain.of(authority, ocsp_url=f"{url}{ocsp.PATH}")
        self._responder = ocsp.Responder((self._chain.root, self._chain.intermediate))
        self._admission = Admission(outages=outages, app=app)
        self._store = Store()
        self._notifications = Notifications(store=self._store, chain=self._chain, app=app)
        self._controls = Controls(
            store=self._store,
            notifications=self._notifications,
            admission=self._admission,
            responder=self._responder,
            chain=self._chain,
            app=app,
        )
        self._apis = [
            api(
                environment,
                admission=self._admission,
                store=self._store,
                chain=self._chain,
                app=app,
            )
            for environment in ENVIRONMENTS
            for api in (Transactions,)
        ]

    def reset(self) -> None:
        """The chain stays, as the root that apps trust does."""
        for part in (self._responder, self._admission, self._store, self._notifications):
            part.reset()

    async def aclose(self) -> None:
        await self._notifications.aclose()

    def routes(self) -> list[Route]:
        return [
            Route("/apple/storekit/root.cer", self.root, methods=["GET"]),
            *self._responder.routes(),
            *self._controls.routes(),
            *(route for api in self._apis for route in api.routes()),
        ]

    async def root(self, _: Request) -> Response:
        return Response(self._chain.root.der, media_type="application/pkix-cert")
