"""Ways to run one agent: a driver knows its program or protocol and nothing of slots, holds or other agents."""
