"""The shared state of the App Store's API and controls."""

from dataclasses import dataclass
from pathlib import Path

from sandbox.apple.faults import Outages
from sandbox.apple.storekit import ocsp
from sandbox.apple.storekit.auth import Authenticator
from sandbox.apple.storekit.certificates import Authority, Chain
from sandbox.apple.storekit.notifications import Notifications
from sandbox.apple.storekit.store import Store
from sandbox.environment import ServedApp


@dataclass(frozen=True)
class StoreState:
    app: ServedApp
    chain: Chain
    responder: ocsp.OcspResponder
    authenticator: Authenticator
    store: Store
    notifications: Notifications

    @classmethod
    def create(
        cls, *, outages: Outages, app: ServedApp, url: str, keys_folder: Path | None
    ) -> "StoreState":
        authority = Authority.load_or_create(keys_folder) if keys_folder else Authority.create()
        chain = Chain.issue(authority, ocsp_url=f"{url}{ocsp.PATH}")
        store = Store()
        return cls(
            app=app,
            chain=chain,
            responder=ocsp.OcspResponder((chain.root, chain.intermediate)),
            authenticator=Authenticator(outages=outages, app=app),
            store=store,
            notifications=Notifications(store=store, chain=chain, app=app),
        )

    def reset(self) -> None:
        """Reset everything but the chain, because apps trust its root."""
        for part in (self.responder, self.authenticator, self.store, self.notifications):
            part.reset()
