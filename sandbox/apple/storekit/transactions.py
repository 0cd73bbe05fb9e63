"""Endpoints for a single transaction."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.apple.storekit.api import Api, parse_json_object
from sandbox.apple.storekit.errors import ApiError, Code
from sandbox.apple.storekit.payloads import FAMILY_SHARED
from sandbox.strict_body import is_uuid


class Transactions(Api):
    def routes(self) -> list[Route]:
        return [
            self._route("GET", "/v1/transactions/{transaction_id}", self.get_info),
            self._route(
                "PUT", "/v1/transactions/{transaction_id}/appAccountToken", self.set_account_token
            ),
        ]

    async def get_info(self, request: Request) -> Response:
        transaction = self._get(request.path_params["transaction_id"])
        return JSONResponse({"signedTransactionInfo": self._signed(transaction)})

    async def set_account_token(self, request: Request) -> Response:
        """Set the token on all transactions of a subscription, including future ones."""
        token = (await parse_json_object(request)).get("appAccountToken")
        transaction = self._find(request.path_params["transaction_id"])
        if transaction is None:
            raise ApiError(Code.ORIGINAL_TRANSACTION_ID_NOT_FOUND)
        if transaction.transaction_id != transaction.original_transaction_id:
            raise ApiError(Code.TRANSACTION_ID_IS_NOT_ORIGINAL_TRANSACTION_ID_ERROR)
        if transaction.in_app_ownership_type == FAMILY_SHARED:
            raise ApiError(Code.FAMILY_TRANSACTION_NOT_SUPPORTED_ERROR)
        if not is_uuid(token):
            raise ApiError(Code.INVALID_APP_ACCOUNT_TOKEN_UUID_ERROR)
        for related in self._store.transactions_of_subscription(transaction.transaction_id):
            related.app_account_token = token
            self._store.record_change(related)
        if subscription := self._store.find_subscription(transaction):
            subscription.renewal.app_account_token = token
        return Response()
