"""A model of each provider's own, which no other makes."""

from tests.helpers.model_ids import GEN, SORA, WAN

MODELS = {"fal": SORA, "runway": GEN, "replicate": WAN}
