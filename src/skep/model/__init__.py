"""The nouns: events, agents, states, the registry, and what an agent must ask for."""
