"""Benchmarks, one module for each room, each against a baseline in the same run."""
