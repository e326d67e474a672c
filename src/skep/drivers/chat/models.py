"""The models that chat agents of one host may talk to: one client, and for each provider its pool of keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from skep.errors import BadInput
from skep.keys import Pool
from skep.llm.client import ModelClient
from skep.providers import Provider, split_model


@dataclass(frozen=True, slots=True)
class Models:
    """What a host needs to let agents talk to models; shared by all of them."""

    client: ModelClient
    providers: Mapping[str, Provider]
    pools: Mapping[str, Pool]

    def route(self, model: str) -> tuple[Provider, Pool, str]:
        """The provider of ``PROVIDER/MODEL``, its keys, and the model's name there. Raises BadInput."""
        name, rest = split_model(model)
        provider, pool = self.providers.get(name), self.pools.get(name)
        if provider is None or pool is None:
            raise BadInput(
                f"provider {name} is not set up for this swarm",
                where=model,
                mend=f"add [providers.{name}] to the configuration, and its keys",
            )
        return provider, pool, rest

    def hide(self, text: str) -> str:
        """The text without the keys of any provider, for what is written down of a failure."""
        for pool in self.pools.values():
            text = pool.hide(text)
        return text
