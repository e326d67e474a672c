"""The process zoo: trees of processes that are hard to stop, by the hundred, taken down by the real ladder."""
