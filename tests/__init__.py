"""The tests mirror src; every package of them imports from its own full name."""
