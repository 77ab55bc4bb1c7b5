"""Training of MobileBERT: data, masking, schedules, metrics, knowledge transfer and the trainer.

All but `pytorch` is framework-neutral and imports NumPy and the core alone. Read `task.py` first.
"""
