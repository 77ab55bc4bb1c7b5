"""The conformance suite of MobileBERT: do all backends compute the same function?

Rules: `conformance/README.md` states them as numbered clauses. Every check is a plain function that
yields `Record`s (`records.py`); `suite/` runs the checks under pytest, `runner.py` runs pytest for
each backend in an interpreter of its own, and `mobilebert conformance` shows what came out. Read
next: `oracle.py` for the function itself, `laws/` for the checks.
"""
