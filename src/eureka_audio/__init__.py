"""Compact audio intelligence: Whisper encoder -> sparse Mixture-of-Experts adapter -> Qwen3 decoder."""

__version__ = "0.1.0"
