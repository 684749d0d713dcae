"""Shared parts of the web pages: access control, security headers, error responses, server, viewer."""
