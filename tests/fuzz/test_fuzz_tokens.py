"""Tokens that are none: nobody is let in, and nothing changes."""

from __future__ import annotations

import hashlib
from uuid import uuid4

from hypothesis import given

from accounts.apple import identity_tokens
from tests.helpers import hostile_input
from tests.helpers.budget import budgeted
from tests.helpers.phone import Phone

pytestmark = budgeted


def is_a_header(token: str) -> bool:
    """What a server would hand on."""
    return token.isprintable() and token.isascii()


def test_a_forged_access_token_lets_nobody_in(phone, rows):
    before, genuine = rows(), phone.session["access_token"]

    @given(token=hostile_input.forged_tokens(genuine).filter(is_a_header))
    @hostile_input.examples(80)
    def is_refused(token):
        phone.session["access_token"] = token
        assert phone.get("get-user-credits").status_code == 401
        assert phone.generate().status_code == 401
        assert rows() == before

    is_refused()
    phone.session["access_token"] = genuine
    assert phone.balance() == 10


def test_a_forged_refresh_token_brings_no_session(phone, rows):
    before, genuine = rows(), phone.session["refresh_token"]
    forged = hostile_input.damaged(genuine.encode()).map(lambda damage: damage.decode("latin-1"))

    @given(token=(forged | hostile_input.values).filter(lambda token: token != genuine))
    @hostile_input.examples(60)
    def is_refused(token):
        answer = Phone().post("auth/refresh", {"refresh_token": token})
        assert answer.status_code in {400, 401}, answer.content
        assert rows() == before

    is_refused()
    assert Phone().post("auth/refresh", {"refresh_token": genuine}).status_code == 200


def test_a_forged_identity_token_is_nobodys(phone, sandbox, rows):
    identity_tokens.keys.clear()
    nonce = uuid4().hex
    tokens = sandbox.control(
        "apple/identity", sub="001.a", nonce=hashlib.sha256(nonce.encode()).hexdigest()
    )
    before = rows()

    @given(token=hostile_input.forged_tokens(tokens["identity_token"]))
    @hostile_input.examples(80)
    def is_refused(token):
        answer = phone.post("merge-guest-to-user", {"identity_token": token, "nonce": nonce})
        assert answer.status_code in {400, 401}, answer.content
        assert rows() == before

    is_refused()
    assert phone.post("merge-guest-to-user", tokens | {"nonce": nonce}).status_code == 200
