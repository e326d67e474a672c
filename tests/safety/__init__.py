"""Attacks that once succeeded, or must never succeed."""
