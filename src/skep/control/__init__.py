"""How a client reaches an engine: the verbs, the socket's server and client, and the same view of a past swarm."""
