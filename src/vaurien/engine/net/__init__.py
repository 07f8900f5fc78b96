"""Listening, accepting, dialling, the two ways to end, and resets after a half-close."""
