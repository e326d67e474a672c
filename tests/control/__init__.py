"""Tests of the control socket, the archive and the addresses."""
