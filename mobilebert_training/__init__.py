"""Training of MobileBERT: data, masks, schedules, metrics, and what a run writes.

Framework-neutral: NumPy and the core alone. The trainer that calls a framework is in its backend,
`mobilebert_torch/training`. Read `task.py` first.
"""
