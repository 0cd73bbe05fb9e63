"""Apple's own library, which judges the sandbox's App Store, and a customer of it."""

import os

import requests
from appstoreserverlibrary.api_client import APIException, AppStoreServerAPIClient
from appstoreserverlibrary.models.Environment import Environment
from appstoreserverlibrary.signed_data_verifier import SignedDataVerifier, VerificationException
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

BUNDLE_ID = os.environ.get("APPSTORE_BUNDLE_ID") or "com.rendio.app"
APP_ID = int(os.environ.get("APPSTORE_APP_ID") or 1_234_567_890)
PRODUCTION, SANDBOX = Environment.PRODUCTION, Environment.SANDBOX
PATHS = {PRODUCTION: "/apple/storekit", SANDBOX: "/apple/storekit/sandbox"}
SUBSCRIPTION = "Auto-Renewable Subscription"

# Any will do: the sandbox cannot know whose key it is.
SIGNING_KEY = ec.generate_private_key(ec.SECP256R1()).private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.NoEncryption(),
)


class Client(AppStoreServerAPIClient):
    """Apple's, but for the host: it has no argument for that."""

    def __init__(self, sandbox_url, environment, *, bundle_id=BUNDLE_ID):
        super().__init__(SIGNING_KEY, "KEY1234567", "an-issuer", bundle_id, environment)
        self._base_url = sandbox_url + PATHS[environment]


class AppStore:
    def __init__(self, sandbox):
        self.sandbox = sandbox
        self.root = requests.get(f"{sandbox.url}/apple/storekit/root.cer", timeout=10).content

    def client(self, environment=PRODUCTION, **settings):
        return Client(self.sandbox.url, environment, **settings)

    def verifier(self, environment=PRODUCTION, *, online=False, root=None):
        return SignedDataVerifier([root or self.root], online, environment, BUNDLE_ID, APP_ID)

    def buy(self, **fields):
        """What the control tells of a purchase, of which the app hears nothing unless it asks."""
        purchase = {"product_id": "credits_10"} | fields
        return self.sandbox.control("apple/purchase", **purchase)

    def subscribe(self, **fields):
        return self.buy(**{"product_id": "premium_monthly", "type": SUBSCRIPTION} | fields)

    def notify(self, notification_type, subtype=None, /, **fields):
        named = {"type": notification_type, "deliver": False} | fields
        return self.sandbox.control(
            "apple/notify", **named, **({"subtype": subtype} if subtype else {})
        )

    def forge(self, flaw, told, *, inner=None):
        """The signed text that looks like what the control told of, but for the flaw."""
        of = {"notification_uuid": told["notification_uuid"], "inner": inner}
        if inner is None:
            of = {"transaction_id": told["transaction_id"]}
        (signed,) = self.sandbox.control("apple/forge", flaw=flaw, **of).values()
        return signed

    def transaction(self, told, **settings):
        """As the library reads what a control or the API handed out."""
        return self.verifier(**settings).verify_and_decode_signed_transaction(
            told if isinstance(told, str) else told["signed_transaction"]
        )

    def fetch(self, transaction_id, environment=PRODUCTION):
        answer = self.client(environment).get_transaction_info(transaction_id)
        return self.transaction(answer.signedTransactionInfo, environment=environment)

    def notification(self, told, **settings):
        return self.verifier(**settings).verify_and_decode_notification(told["signed_payload"])


def refusal(call, *arguments):
    """The status of Apple's verifier, or status and code of Apple's client."""
    try:
        call(*arguments)
    except VerificationException as refused:
        return refused.status
    except APIException as refused:
        return refused.http_status_code, refused.raw_api_error
    raise AssertionError("It was not refused.")
