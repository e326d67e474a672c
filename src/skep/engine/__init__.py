"""The swarm at work: one ledger of decisions, admission, the stop ladder, the heartbeat monitor, recovery."""
