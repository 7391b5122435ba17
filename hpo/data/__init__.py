"""Batches as people have them: what their fields may hold, and one pass over a split."""
