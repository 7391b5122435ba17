"""Which code a value depends on, and a fingerprint of it that comments and formatting do not change."""
