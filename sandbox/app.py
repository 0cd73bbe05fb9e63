"""The ASGI app of the sandbox. A new service is a module with routes, registered here."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from sandbox.apple.account_events import AccountEvents
from sandbox.apple.apns import Apns
from sandbox.apple.auth import AppleAuth, AuthError, handle_auth_error
from sandbox.apple.devicecheck import DeviceCheck
from sandbox.apple.faults import Hang, Outages, handle_hang
from sandbox.apple.keys import KeySet
from sandbox.apple.storekit.errors import ApiError, handle_api_error
from sandbox.apple.storekit.service import StoreKit
from sandbox.connections import Connections
from sandbox.control import OTHER_SERVICES, Control, handle_bad_request
from sandbox.environment import ServedApp, find_keys_folder
from sandbox.fake_provider.files import MediaFiles
from sandbox.fake_provider.media import MediaRenderer
from sandbox.fake_provider.provider import FakeProvider
from sandbox.fal.queue import FalQueue
from sandbox.fal.webhooks import FalWebhooks
from sandbox.modal.calls import ModalCalls
from sandbox.modal.webhooks import ModalWebhooks
from sandbox.openai import OpenAI
from sandbox.openrouter import OpenRouter
from sandbox.recorder import RecordRequests, RequestLog
from sandbox.replicate.models import ReplicateModels
from sandbox.replicate.predictions import ReplicatePredictions
from sandbox.replicate.provider import ReplicateProvider
from sandbox.replicate.trainings import ReplicateTrainings
from sandbox.replicate.webhooks import ReplicateWebhooks
from sandbox.runpod.endpoints import RunpodEndpoints
from sandbox.runpod.webhooks import RunpodWebhooks
from sandbox.runway.tasks import RunwayTasks
from sandbox.strict_body import BadRequest


def create_app(connections: Connections, *, url: str) -> Starlette:
    """`url` is the URL that the sandbox listens on."""
    log = RequestLog()
    renderer = MediaRenderer()
    fal_webhooks, replicate_webhooks = FalWebhooks(renderer), ReplicateWebhooks(renderer)
    fal, runway = FakeProvider(webhooks=fal_webhooks), FakeProvider()
    replicate = ReplicateProvider(webhooks=replicate_webhooks)
    runpod_webhooks, modal_webhooks = RunpodWebhooks(), ModalWebhooks()
    runpod, modal = FakeProvider(webhooks=runpod_webhooks), FakeProvider(webhooks=modal_webhooks)
    providers = {
        "fal": fal,
        "runway": runway,
        "replicate": replicate,
        "runpod": runpod,
        "modal": modal,
    }
    files = [
        MediaFiles(
            prefix=f"/{name}/files", jobs=provider.jobs, renderer=renderer, connections=connections
        )
        for name, provider in providers.items()
    ]
    outages = Outages()
    devicecheck = DeviceCheck(outages)
    app = ServedApp.from_environment(os.environ)
    keys = KeySet()
    auth = AppleAuth(outages=outages, keys=keys, app=app)
    account_events = AccountEvents(auth=auth, keys=keys, app=app)
    openai, openrouter = OpenAI(), OpenRouter()
    apns = Apns(app)
    storekit = StoreKit(outages=outages, app=app, url=url, keys_folder=find_keys_folder(os.environ))
    control = Control(
        log=log,
        providers=providers,
        devicecheck=devicecheck,
        auth=auth,
        keys=keys,
        account_events=account_events,
        storekit=storekit,
        openai=openai,
        openrouter=openrouter,
        apns=apns,
        outages=outages,
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await fal_webhooks.aclose()
        await replicate_webhooks.aclose()
        await runpod_webhooks.aclose()
        await modal_webhooks.aclose()
        await account_events.aclose()
        await storekit.aclose()
        renderer.close()

    return Starlette(
        routes=[
            Route("/healthz", healthz, methods=["GET"]),
            *control.routes(),
            *FalQueue(fal=fal, renderer=renderer, connections=connections).routes(),
            *fal_webhooks.routes(),
            *RunwayTasks(runway=runway, connections=connections).routes(),
            *ReplicatePredictions(replicate=replicate, connections=connections).routes(),
            *ReplicateTrainings(
                replicate=replicate, renderer=renderer, connections=connections
            ).routes(),
            *ReplicateModels(replicate=replicate).routes(),
            *RunpodEndpoints(runpod=runpod, connections=connections).routes(),
            *ModalCalls(modal=modal, connections=connections).routes(),
            *[route for files_service in files for route in files_service.routes()],
            *devicecheck.routes(),
            *auth.routes(),
            *storekit.routes(),
            *openai.routes(),
            *openrouter.routes(),
            *apns.routes(),
        ],
        middleware=[Middleware(RecordRequests, log=log, providers=(*providers, *OTHER_SERVICES))],
        exception_handlers={
            BadRequest: handle_bad_request,
            AuthError: handle_auth_error,
            ApiError: handle_api_error,
            Hang: handle_hang,
        },
        lifespan=lifespan,
    )


async def healthz(_: Request) -> JSONResponse:
    return JSONResponse({"status": "ok"})
