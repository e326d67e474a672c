"""Whole swarms through the public surface: skep as a program, its control socket, its terminal."""
