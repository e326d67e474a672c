"""The shell's side of skep: one module per verb family, each of which parses, calls and prints."""
