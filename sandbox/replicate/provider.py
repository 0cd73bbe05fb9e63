"""The state of the fake Replicate: jobs, and the models of the account."""

from collections import OrderedDict
from dataclasses import dataclass, field
from hashlib import sha256

from sandbox.fake_provider.jobs import Job, Status
from sandbox.fake_provider.provider import FakeProvider
from sandbox.fake_provider.webhooks import Webhooks

ACCOUNT = "sandbox"
MAX_MODELS = 20_000


@dataclass
class Model:
    """A private model of the account. Successful trainings are its versions."""

    name: str
    deleted_versions: set[str] = field(default_factory=set)
    gone_versions: set[str] = field(default_factory=set)


class ReplicateProvider(FakeProvider):
    def __init__(self, *, webhooks: Webhooks) -> None:
        super().__init__(webhooks=webhooks)
        self.models: OrderedDict[str, Model] = OrderedDict()

    def reset(self) -> None:
        super().reset()
        self.models.clear()

    def add_model(self, name: str) -> Model:
        model = self.models[name] = Model(name)
        if len(self.models) > MAX_MODELS:
            self.models.popitem(last=False)
        return model

    def versions(self, model: Model) -> list[Job]:
        """The trainings that made them. Deleted ones are gone after they were read once: at
        Replicate, it takes minutes."""
        made = [
            job
            for job in self.jobs.all()
            if job.destination == f"{ACCOUNT}/{model.name}"
            and job.status is Status.COMPLETED
            and not job.has_failed
        ]
        left = [job for job in made if version_id(job) not in model.gone_versions]
        model.gone_versions |= model.deleted_versions
        return left


def version_id(job: Job) -> str:
    return sha256(job.request_id.encode()).hexdigest()
