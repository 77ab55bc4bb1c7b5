"""Training in PyTorch: optimisers, objectives, knowledge transfer and several processes.

Data, masks, schedules, metrics and the folder of a run are neutral: `mobilebert_training`. Read
`trainer.py` first.
"""
