"""Serves one predictor over HTTP, with a web page and limits on size, number and time."""
