"""The OCSP responder: whether a certificate is revoked."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ReasonFlags, ocsp
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.apple.storekit.certificates import CertifiedKey
from sandbox.strict_body import StrictBody

PATH = "/apple/storekit/ocsp"
STATUSES = ("good", "revoked", "down")
RESPONSE_LIFETIME = timedelta(hours=12)


class OcspResponder:
    def __init__(self, issuers: Sequence[CertifiedKey]) -> None:
        self._issuers = issuers
        self.reset()

    def reset(self) -> None:
        self._status = "good"

    def routes(self) -> list[Route]:
        return [Route(PATH, self.response, methods=["POST"])]

    def configure(self, fields: StrictBody) -> dict[str, Any]:
        """Set the status of all certificates."""
        fields.allow_only(("status",))
        self._status = fields.get_choice("status", STATUSES)
        return {"status": self._status}

    async def response(self, request: Request) -> Response:
        if self._status == "down":
            raise HTTPException(503, "Service unavailable")
        try:
            ocsp_request = ocsp.load_der_ocsp_request(await request.body())
        except ValueError:
            return _to_http(_error_response(ocsp.OCSPResponseStatus.MALFORMED_REQUEST))
        return _to_http(self._response(ocsp_request))

    def _response(self, ocsp_request: ocsp.OCSPRequest) -> ocsp.OCSPResponse:
        issuer = next(
            (
                issuer
                for issuer in self._issuers
                if _key_hash(issuer, ocsp_request) == ocsp_request.issuer_key_hash
            ),
            None,
        )
        if issuer is None:
            return _error_response(ocsp.OCSPResponseStatus.UNAUTHORIZED)
        now = datetime.now(UTC)
        is_revoked = self._status == "revoked"
        builder = ocsp.OCSPResponseBuilder().add_response_by_hash(
            issuer_name_hash=ocsp_request.issuer_name_hash,
            issuer_key_hash=ocsp_request.issuer_key_hash,
            serial_number=ocsp_request.serial_number,
            algorithm=ocsp_request.hash_algorithm,
            cert_status=ocsp.OCSPCertStatus.REVOKED if is_revoked else ocsp.OCSPCertStatus.GOOD,
            this_update=now,
            next_update=now + RESPONSE_LIFETIME,
            revocation_time=now if is_revoked else None,
            revocation_reason=ReasonFlags.key_compromise if is_revoked else None,
        )
        by_key = ocsp.OCSPResponderEncoding.HASH
        return builder.responder_id(by_key, issuer.certificate).sign(issuer.key, hashes.SHA256())


def _key_hash(issuer: CertifiedKey, ocsp_request: ocsp.OCSPRequest) -> bytes:
    digest = hashes.Hash(ocsp_request.hash_algorithm)
    digest.update(
        issuer.key.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
    )
    return digest.finalize()


def _error_response(status: ocsp.OCSPResponseStatus) -> ocsp.OCSPResponse:
    return ocsp.OCSPResponseBuilder.build_unsuccessful(status)


def _to_http(response: ocsp.OCSPResponse) -> Response:
    content = response.public_bytes(serialization.Encoding.DER)
    return Response(content, media_type="application/ocsp-response")
