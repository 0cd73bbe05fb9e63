"""A model of each provider's own, which no other makes."""

from generation.catalogue import cache
from generation.models import ProviderRoute
from tests.helpers.model_ids import GEN, OWN_WAN, SORA, WAN

MODELS = {"fal": SORA, "runway": GEN, "replicate": WAN, "runpod": OWN_WAN, "modal": OWN_WAN}


def only_made_by(provider: str) -> str:
    """The model's id. Its routes at other providers are disabled."""
    model_id = MODELS[provider]
    others = ProviderRoute.objects.filter(model_id=model_id).exclude(provider=provider)
    if others.update(is_enabled=False):
        cache.invalidate()
    return str(model_id)
