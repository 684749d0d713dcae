"""Promotion of a challenger to champion: gate, scores, smoke test, rollback."""
