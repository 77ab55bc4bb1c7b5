"""Supervised tasks, one module a head: examples, already encoded, and how predictions are measured.

Read next: `opening.py`, which makes a task of files; then `supervised.py` and the head you need.
"""
