"""What every provider must do, over HTTP with the sandbox: one class, run by each of them."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Any, ClassVar
from uuid import uuid4

import av
import pytest
from requests.structures import CaseInsensitiveDict

from generation.providers import get_provider
from generation.providers.base import (
    Accepted,
    CancelResult,
    Done,
    Failed,
    FailureReason,
    Handle,
    Media,
    MediaKind,
    Provider,
    ProviderState,
    Rejected,
    RetryLater,
    Running,
    Unknown,
)
from generation.providers.signatures import BadSignature
from rendio.common.keyring import KeyRing
from rendio.common.observability import metrics
from rendio.common.outbound import http
from tests.helpers.job_driver import StubServer, override_provider
from tests.helpers.sandbox_control import Sandbox
from tests.helpers.wait import wait_for

KEYS = {"one": "key-number-one-1111", "two": "key-number-two-2222"}


class ProviderContract:
    name: ClassVar[str]
    model_id: ClassVar[str]
    body: ClassVar[dict[str, Any]]
    # Every state that its published description lists.
    states: ClassVar[set[str]]
    # Where the provider looks at the input before it takes it, a wrong one is refused at once.
    checks_input_first: ClassVar[bool] = False
    keys: ClassVar[dict[str, str]] = KEYS
    # The header of the secret part of the key.
    key_header: ClassVar[str] = "authorization"
    kind: ClassVar[MediaKind] = "video"
    # What the provider is asked before a submission, and answers.
    preparation: ClassVar[tuple[tuple[int, dict[str, Any]], ...]] = ()

    @pytest.fixture
    def provider(self, settings: Any, no_long_wait: None) -> Provider:
        override_provider(settings, self.name, keys=KeyRing(self.keys))
        return get_provider(self.name)

    @pytest.fixture
    def outside(self, sandbox: Sandbox) -> Iterator[Sandbox]:
        sandbox.provider(provider=self.name, queue_seconds=0, run_seconds=0, webhooks=False)
        return sandbox

    def go(self, outside: Sandbox, **plan: Any) -> None:
        outside.provider(provider=self.name, **plan)

    def send(self, provider: Provider, **changes: Any) -> Any:
        # Another for each submission, as in the lifecycle.
        hook = f"http://127.0.0.1:9/webhooks/x?token={uuid4().hex}"
        order = {"model_id": self.model_id, "body": self.body, "webhook_url": hook}
        return provider.submit(**order | {"key_label": "two"} | changes)

    def sent(self, provider: Provider) -> Handle:
        answer = self.send(provider)
        assert isinstance(answer, Accepted), answer
        return answer.handle

    def fetched(self, provider: Provider, handle: Handle) -> Media | Failed | Running | Unknown:
        return provider.result(handle, kind=self.kind)

    def submissions(self, outside: Sandbox) -> list[dict[str, Any]]:
        """The requests that were sent, without those before the submission."""
        return outside.requests(self.name)[len(self.preparation) :]

    def prepare(self, stub_server: StubServer) -> None:
        for status, body in self.preparation:
            stub_server.say(status, body)

    def assert_usable(self, content: bytes) -> None:
        with av.open(BytesIO(content), format="mp4") as film:
            assert sum(1 for _ in film.decode(video=0)) > 10

    # --- Submit -------------------------------------------------------------------------------

    def test_a_submission_is_one_request_with_the_key_of_its_label(self, provider, outside):
        handle = self.sent(provider)

        (asked,) = self.submissions(outside)
        assert asked["headers"][self.key_header].endswith("…2222")
        (job,) = outside.jobs(self.name)
        assert handle.request_id == job["request_id"]
        assert (handle.key_label, job["model"]) == ("two", self.model_id)

    def test_what_follows_goes_with_the_key_it_was_submitted_with(self, provider, outside):
        handle = self.sent(provider)

        provider.status(handle)
        self.fetched(provider, handle)
        provider.cancel(handle)

        keys = {asked["headers"][self.key_header][-5:] for asked in outside.requests(self.name)}
        assert keys == {"…2222"}

    def test_the_handle_can_be_made_from_the_id_alone(self, provider, outside):
        handle = self.sent(provider)

        made = provider.build_handle(
            model_id=self.model_id, request_id=handle.request_id, key_label="two"
        )

        assert made == handle

    @pytest.mark.parametrize(
        ("outcome", "error_type"),
        [("submit_429", "rate_limited"), ("submit_403_balance", "account")],
    )
    def test_what_is_nobodys_fault_can_be_asked_later(self, provider, outside, outcome, error_type):
        self.go(outside, outcome=outcome)

        answer = self.send(provider)

        assert isinstance(answer, RetryLater)
        assert answer.error_type == error_type
        assert answer.retry_after_seconds == (1 if outcome == "submit_429" else 30)
        assert outside.jobs(self.name) == []

    @pytest.mark.parametrize(
        ("outcome", "runs"),
        [("submit_500", 0), ("submit_503", 0), ("submit_timeout", 0), ("submit_lost", 1)],
    )
    def test_without_a_clear_answer_it_may_run_and_is_not_sent_again(
        self, provider, outside, outcome, runs
    ):
        self.go(outside, outcome=outcome)

        assert isinstance(self.send(provider), Unknown)

        assert len(self.submissions(outside)) == 1
        assert len(outside.jobs(self.name)) == runs

    def test_what_could_not_be_sent_can_be_sent_later(self, provider, settings):
        override_provider(settings, self.name, url="http://127.0.0.1:9")

        answer = self.send(provider)

        assert isinstance(answer, RetryLater)
        assert answer.error_type == "not_sent"

    # --- Look ---------------------------------------------------------------------------------

    def test_it_waits_then_runs_then_is_done(self, provider, outside):
        self.go(outside, queue_seconds=600)
        assert provider.status(self.sent(provider)) in [Running(False), Running(False, None, 0)]

        self.go(outside, queue_seconds=0, run_seconds=600)
        reading = provider.status(self.sent(provider))
        assert (reading.is_started, reading.progress) == (True, 0)

        self.go(outside, run_seconds=0)
        assert provider.status(self.sent(provider)) == Done()

    def test_it_tells_how_far_it_is(self, provider, outside):
        self.go(outside, run_seconds=2)
        handle = self.sent(provider)

        told = wait_for(lambda: [at for at in [_progress(provider, handle) or 0] if at >= 20])
        assert told[0] <= 100

    @pytest.mark.parametrize("outcome", ["status_500", "status_unknown"])
    def test_a_status_that_cannot_be_read_is_unknown(self, provider, outside, outcome):
        self.go(outside, outcome=outcome)

        assert isinstance(provider.status(self.sent(provider)), Unknown)

    def test_it_knows_every_state_that_is_documented(self, provider):
        assert set(provider.states) == self.states

    def test_a_state_that_is_not_documented_is_logged_and_counted_at_once(
        self, provider, stub_server, settings, caplog
    ):
        override_provider(settings, self.name, url=stub_server.url)
        handle = provider.build_handle(model_id=self.model_id, request_id="x", key_label="one")
        counted = metrics.unknown_provider_states.labels(self.name)._value
        before = counted.get()
        stub_server.say(200, {"status": "EXPIRED"})

        assert provider.status(handle) == Unknown("status 'EXPIRED'")

        assert counted.get() == before + 1
        logged = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
        (told,) = [one for one in logged if one["event"] == "unknown_provider_state"]
        assert (told["provider"], told["state"]) == (self.name, "EXPIRED")

    def test_a_provider_that_cannot_be_reached_is_unknown(self, provider, outside, settings):
        self.sent(provider)
        override_provider(settings, self.name, url="http://127.0.0.1:9")
        lost = provider.build_handle(model_id=self.model_id, request_id="x", key_label="one")

        assert isinstance(provider.status(lost), Unknown)
        assert isinstance(self.fetched(provider, lost), Unknown)
        assert provider.cancel(lost) == CancelResult.UNKNOWN

    # --- Fetch --------------------------------------------------------------------------------

    def test_the_result_is_a_file_that_can_be_used(self, provider, outside):
        handle = self.sent(provider)
        result = self.fetched(provider, handle)

        assert isinstance(result, Media), result
        assert result.kind == self.kind
        into = BytesIO()
        answer = http.download(
            result.url,
            into,
            allowed_hosts=provider.media_hosts,
            max_bytes=10_000_000,
            headers=provider.weights_headers(handle) if self.kind == "weights" else {},
        )
        assert answer.status == 200
        self.assert_usable(into.getvalue())

    def test_before_its_end_there_is_no_result(self, provider, outside):
        self.go(outside, run_seconds=600)

        assert isinstance(self.fetched(provider, self.sent(provider)), Running)

    @pytest.mark.parametrize(
        ("outcome", "reason"),
        [
            ("error", FailureReason.PROVIDER_ERROR),
            ("content_policy", FailureReason.REJECTED),
            ("cancelled", FailureReason.CANCELLED),
        ],
    )
    def test_a_failure_has_its_reason(self, provider, outside, outcome, reason):
        self.go(outside, outcome=outcome)
        handle = self.sent(provider)

        assert provider.status(handle) == Done()
        failed = self.fetched(provider, handle)
        assert isinstance(failed, Failed)
        assert failed.reason == reason

    def test_a_wrong_input_is_the_customers_to_mend(self, provider, outside):
        self.go(outside, outcome="invalid_input")

        answer = self.send(provider)

        assert isinstance(answer, Rejected) == self.checks_input_first
        end = answer if isinstance(answer, Rejected) else self.fetched(provider, answer.handle)
        assert end.reason == FailureReason.REJECTED
        assert end.detail

    @pytest.mark.parametrize("outcome", ["result_500", "result_404"])
    def test_a_result_that_cannot_be_had_is_no_failure(self, provider, outside, outcome):
        self.go(outside, outcome=outcome)

        assert isinstance(self.fetched(provider, self.sent(provider)), Unknown)

    # --- Cancel -------------------------------------------------------------------------------

    def test_in_the_queue_it_can_be_stopped(self, provider, outside):
        self.go(outside, queue_seconds=600)
        handle = self.sent(provider)

        answer = provider.cancel(handle)

        assert self.is_stopped(provider, handle, answer)

    def test_after_its_end_it_is_too_late(self, provider, outside):
        handle = self.sent(provider)

        assert provider.cancel(handle) == CancelResult.TOO_LATE
        assert isinstance(self.fetched(provider, handle), Media)

    def test_asked_twice_it_is_stopped_all_the_same(self, provider, outside):
        self.go(outside, queue_seconds=600)
        handle = self.sent(provider)

        provider.cancel(handle)

        assert self.is_stopped(provider, handle, provider.cancel(handle))

    def is_stopped(self, provider: Provider, handle: Handle, answer: CancelResult) -> bool:
        if answer == CancelResult.CANCELLED:
            return True
        result = self.fetched(provider, handle)
        return isinstance(result, Failed) and result.reason == FailureReason.CANCELLED

    # --- Whatever comes -------------------------------------------------------------------------

    @pytest.mark.parametrize("status", [200, 201, 302, 400, 402, 404, 409, 418, 422, 500, 503])
    def test_no_answer_breaks_us(self, provider, stub_server, settings, status):
        override_provider(settings, self.name, url=stub_server.url)
        handle = provider.build_handle(model_id=self.model_id, request_id="x", key_label="one")

        for body in (
            b"", b"[]", b"null", b"7", b"<html>", b"{}", b"[" * 5000, b'{"id": 7}',
            b'{"id": "../../x", "request_id": "../../x"}', b'{"status": {"a": []}}',
        ):  # fmt: skip
            stub_server.otherwise = (status, {}, body)

            assert isinstance(self.send(provider), Unknown | Rejected | RetryLater), body
            assert isinstance(provider.status(handle), Unknown), body
            assert isinstance(self.fetched(provider, handle), Unknown | Failed), body
            assert isinstance(provider.cancel(handle), CancelResult), body

    def test_a_look_is_redirected_within_the_provider_and_never_away_from_it(
        self, provider, stub_server, settings
    ):
        override_provider(settings, self.name, url=f"{stub_server.url}/here")
        handle = provider.build_handle(model_id=self.model_id, request_id="x", key_label="one")
        ended = next(
            word for word, state in provider.states.items() if state == ProviderState.FINISHED
        )
        stub_server.say(307, b"", Location=f"{stub_server.url}/here/moved").say(
            200, {"status": ended}
        )

        assert provider.status(handle) == Done()

        for away in (
            f"{stub_server.url}/elsewhere",
            "../../../../../../elsewhere",
            "http://[half",
            "",
        ):
            stub_server.say(302, b"", Location=away)
            assert provider.status(handle) == Unknown("status 302"), away
        stub_server.otherwise = (308, {"Location": handle.status_url}, b"")
        assert provider.status(handle) == Unknown("status 308")
        assert all(path.startswith("/here/") for _, path, _ in stub_server.asked)
        stub_server.otherwise = (302, {"Location": f"{stub_server.url}/here/moved"}, b"")
        before = len(stub_server.asked)
        self.prepare(stub_server)
        self.send(provider)
        assert len(stub_server.asked) == before + len(self.preparation) + 1

    def test_our_key_goes_nowhere_else(self, provider, stub_server, settings):
        """Whatever addresses the provider names."""
        override_provider(settings, self.name, url=f"{stub_server.url}/here")
        elsewhere = f"{stub_server.url}/elsewhere"
        urls = dict.fromkeys(("status_url", "response_url", "cancel_url", "get"), elsewhere)
        self.prepare(stub_server)
        stub_server.say(200, {"id": "x", "request_id": "x", "urls": urls, **urls})

        handle = self.sent(provider)
        provider.status(handle)
        self.fetched(provider, handle)
        provider.cancel(handle)

        assert all(path.startswith("/here/") for _, path, _ in stub_server.asked)


def _progress(provider: Provider, handle: Handle) -> int | None:
    reading = provider.status(handle)
    return reading.progress if isinstance(reading, Running) else 100


class WebhookContract(ProviderContract):
    """And this, where it sends webhooks of its own."""

    @pytest.fixture
    def delivered(self, provider, outside, stub_server) -> Any:
        """Sends a job whose webhook goes as planned: its id, and the headers and body that come."""
        stub_server.otherwise = (200, {}, b"")

        def deliver(**plan: Any) -> tuple[str, dict[str, str], bytes]:
            self.go(outside, webhooks=True, **plan)
            request_id = self.send(
                provider, webhook_url=f"{stub_server.url}/hook"
            ).handle.request_id
            wait_for(lambda: stub_server.asked)
            _, _, headers = stub_server.asked[-1]
            return request_id, CaseInsensitiveDict(headers), stub_server.bodies[-1]

        return deliver

    @pytest.mark.parametrize("outcome", ["ok", "error", "content_policy", "cancelled"])
    def test_its_webhook_is_believed_and_names_the_request(self, provider, delivered, outcome):
        request_id, headers, body = delivered(outcome=outcome)

        event = provider.verify_webhook(headers=headers, body=body)

        assert event.request_id == request_id


class SignedWebhookContract(WebhookContract):
    """And this, where its webhooks prove that they are its own."""

    @pytest.mark.parametrize("outcome", ["webhook_bad_signature", "webhook_stale_timestamp"])
    def test_one_by_somebody_else_or_long_ago_is_not(self, provider, delivered, outcome):
        _, headers, body = delivered(outcome=outcome)

        with pytest.raises(BadSignature):
            provider.verify_webhook(headers=headers, body=body)

    def test_every_signed_header_and_byte_counts(self, provider, delivered):
        _, headers, body = delivered()
        signed = [name for name in headers if "webhook" in name.lower()]
        assert len(signed) >= 3

        for name in signed:
            for value in ("", "x", "0" + headers[name][1:], headers[name] + "0", None):
                changed = {k: v for k, v in headers.items() if k != name}
                if value is not None:
                    changed[name] = value
                if changed == dict(headers):
                    continue
                with pytest.raises(BadSignature):
                    provider.verify_webhook(headers=CaseInsensitiveDict(changed), body=body)
        with pytest.raises(BadSignature):
            provider.verify_webhook(headers=headers, body=body + b" ")
        provider.verify_webhook(headers=headers, body=body)
