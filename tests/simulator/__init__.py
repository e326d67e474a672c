"""Tests of the simulator, by real requests over loopback."""
