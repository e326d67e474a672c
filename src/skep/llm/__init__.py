"""Speaking to models: one streamed turn, complete or failed, with its clocks and its retries."""
