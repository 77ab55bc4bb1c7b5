"""Files of training data, one module a format: paths in, lists of plain records out.

Every reader takes `.gz` files too, and tells everything malformed in one `InputError` that names
the file and the lines. Read next: `files.py`, then `tables.py`; `tasks/` makes examples of records.
"""
