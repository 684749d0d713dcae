"""From challenger to champion: the gate, its scores, the smoke test, promotion and rollback."""
