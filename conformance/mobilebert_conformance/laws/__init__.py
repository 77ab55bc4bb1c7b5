"""The laws, a module each: plain functions that take a subject and a case and yield records.

They import no test runner, so that mutants and tests can call them like any other function.
`checks.py` tells which of them run on which cases.
"""
