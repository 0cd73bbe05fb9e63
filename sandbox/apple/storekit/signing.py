"""Signing as the App Store does: ES256, with the whole chain in the header."""

from collections.abc import Mapping
from typing import Any

from sandbox.apple.jws import encode
from sandbox.apple.storekit.certificates import Chain


def sign(payload: Mapping[str, Any], chain: Chain) -> str:
    return encode({"alg": "ES256", "x5c": chain.x5c}, payload, chain.leaf.sign)
