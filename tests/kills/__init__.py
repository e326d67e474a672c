"""Engines that are killed with -9, at random moments and at every step where a crash could do harm."""
