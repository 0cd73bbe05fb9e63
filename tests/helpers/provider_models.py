"""A model of each provider's own, which no other makes."""

from tests.conftest import GEN, SORA, WAN

MODELS = {"fal": SORA, "runway": GEN, "replicate": WAN}
