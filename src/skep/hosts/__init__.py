"""Where agents run: a host takes assignments and gives reports; it knows drivers and nothing of the engine."""
