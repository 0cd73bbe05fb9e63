"""`/control/…`: endpoints that control the sandbox, for tests, demos and developers."""

from collections.abc import Mapping
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from sandbox.apple.account_events import AccountEvents
from sandbox.apple.apns import Apns
from sandbox.apple.auth import AppleAuth
from sandbox.apple.devicecheck import DeviceCheck
from sandbox.apple.faults import Outages
from sandbox.apple.keys import KeySet
from sandbox.apple.storekit.service import StoreKit
from sandbox.openai import OpenAI
from sandbox.openrouter import OpenRouter
from sandbox.recorder import RequestLog
from sandbox.strict_body import BadRequest, StrictBody

# Services that are not providers, by the first segment of their path.
OTHER_SERVICES = ("apple", "apns", "openai", "openrouter")


class Provider(Protocol):
    """A service whose jobs can be scripted."""

    def configure(self, fields: StrictBody) -> dict[str, Any]: ...

    def jobs_as_json(self) -> list[dict[str, Any]]: ...

    def finish(self) -> int: ...

    def recover(self) -> int: ...

    def reset(self) -> None: ...


class Control:
    def __init__(
        self,
        *,
        log: RequestLog,
        providers: Mapping[str, Provider],
        devicecheck: DeviceCheck,
        auth: AppleAuth,
        keys: KeySet,
        account_events: AccountEvents,
        storekit: StoreKit,
        openai: OpenAI,
        openrouter: OpenRouter,
        apns: Apns,
        outages: Outages,
    ) -> None:
        self._log = log
        self._providers = providers
        self._devicecheck = devicecheck
        self._auth = auth
        self._keys = keys
        self._account_events = account_events
        self._storekit = storekit
        self._openai = openai
        self._openrouter = openrouter
        self._apns = apns
        self._outages = outages

    def routes(self) -> list[Route]:
        return [
            Route("/control/reset", self.reset, methods=["POST"]),
            Route("/control/provider", self.provider, methods=["POST"]),
            Route("/control/finish", self.finish, methods=["POST"]),
            Route("/control/recover", self.recover, methods=["POST"]),
            Route("/control/requests", self.requests, methods=["GET"]),
            Route("/control/jobs", self.jobs, methods=["GET"]),
            Route("/control/apple/device", self.apple_device, methods=["POST"]),
            Route("/control/apple/identity", self.apple_identity, methods=["POST"]),
            Route("/control/apple/rotate-keys", self.apple_rotate_keys, methods=["POST"]),
            Route("/control/apple/identity-notice", self.apple_account_event, methods=["POST"]),
            Route("/control/apple/revoked", self.apple_revoked, methods=["GET"]),
            Route("/control/apple/outage", self.apple_outage, methods=["POST"]),
            Route("/control/moderation", self.moderation, methods=["POST"]),
            Route("/control/openrouter", self.openrouter, methods=["POST"]),
            Route("/control/apns", self.apns, methods=["POST"]),
            Route("/control/pushes", self.pushes, methods=["GET"]),
        ]

    async def reset(self, request: Request) -> JSONResponse:
        (await StrictBody.parse(request)).allow_only(())
        self._log.reset()
        self._devicecheck.reset()
        self._auth.reset()
        self._storekit.reset()
        self._openai.reset()
        self._openrouter.reset()
        self._apns.reset()
        self._outages.reset()
        for provider in self._providers.values():
            provider.reset()
        return JSONResponse({"reset": True})

    async def provider(self, request: Request) -> JSONResponse:
        fields = await StrictBody.parse(request)
        name = fields.get_choice("provider", self._providers)
        return JSONResponse({"provider": name, **self._providers[name].configure(fields)})

    async def finish(self, request: Request) -> JSONResponse:
        fields = await StrictBody.parse(request)
        fields.allow_only(("provider",))
        name = fields.get_choice("provider", self._providers)
        return JSONResponse({"finished": self._providers[name].finish()})

    async def recover(self, request: Request) -> JSONResponse:
        fields = await StrictBody.parse(request)
        fields.allow_only(("provider",))
        name = fields.get_choice("provider", self._providers)
        return JSONResponse({"recovered": self._providers[name].recover()})

    async def requests(self, request: Request) -> JSONResponse:
        provider = _find_in_query(request, (*OTHER_SERVICES, *self._providers))
        return JSONResponse(
            {"requests": [one.as_json() for one in self._log.requests_to(provider)]}
        )

    async def jobs(self, request: Request) -> JSONResponse:
        provider_name = _find_in_query(request, tuple(self._providers))
        return JSONResponse(
            {
                "jobs": [
                    job
                    for name, provider in self._providers.items()
                    if provider_name in (None, name)
                    for job in provider.jobs_as_json()
                ]
            }
        )

    async def apple_device(self, request: Request) -> JSONResponse:
        return JSONResponse(self._devicecheck.configure(await StrictBody.parse(request)))

    async def apple_identity(self, request: Request) -> JSONResponse:
        return JSONResponse(self._auth.sign_in(await StrictBody.parse(request)))

    async def apple_rotate_keys(self, request: Request) -> JSONResponse:
        return JSONResponse(self._keys.rotate(await StrictBody.parse(request)))

    async def apple_account_event(self, request: Request) -> JSONResponse:
        return JSONResponse(await self._account_events.send(await StrictBody.parse(request)))

    async def apple_revoked(self, _: Request) -> JSONResponse:
        return JSONResponse({"tokens": self._auth.revocations_as_json()})

    async def apple_outage(self, request: Request) -> JSONResponse:
        return JSONResponse(self._outages.configure(await StrictBody.parse(request)))

    async def moderation(self, request: Request) -> JSONResponse:
        return JSONResponse(self._openai.configure(await StrictBody.parse(request)))

    async def openrouter(self, request: Request) -> JSONResponse:
        return JSONResponse(self._openrouter.configure(await StrictBody.parse(request)))

    async def apns(self, request: Request) -> JSONResponse:
        return JSONResponse(self._apns.configure(await StrictBody.parse(request)))

    async def pushes(self, _: Request) -> JSONResponse:
        return JSONResponse({"pushes": self._apns.pushes_as_json()})


def _find_in_query(request: Request, choices: tuple[str, ...]) -> str | None:
    fields = StrictBody(dict(request.query_params))
    fields.allow_only(("provider",))
    return fields.find_choice("provider", choices)


async def handle_bad_request(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, BadRequest)  # noqa: S101 (registered for nothing else)
    return JSONResponse({"error": str(error)}, status_code=400)
