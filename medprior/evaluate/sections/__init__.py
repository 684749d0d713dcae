"""Sections of an evaluation, each a set of metrics with the data of its figures."""
