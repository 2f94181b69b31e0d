"""Judging answers: official scoring rules by name, every verdict kept.

Knows no model and imports neither torch nor transformers. Start at ``scoring`` (a file of
predictions becomes a file of verdicts and a summary) or ``metrics`` (error rates of lists).
"""
