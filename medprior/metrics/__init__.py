"""Metrics and their intervals: pure functions of arrays, without files, cohorts or networks."""
