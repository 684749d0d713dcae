"""Sections of the evidence, each a set of metrics with the figures' data."""
