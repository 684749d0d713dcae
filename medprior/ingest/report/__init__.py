"""The HTML report of an ingest: what was read, what was refused and why."""
