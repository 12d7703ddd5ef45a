"""A database as a busy service leaves it, made by statements over whole sets of rows.

The rows are what the services would have written, books, audit log and recent events
included: ``standart verify`` passes on them. Triggers are off and indexes away while they are
loaded. The same options and the same ``until`` make the same payments.
"""

from benchmarks.fill.loading import AlreadyFilled, fill
from benchmarks.fill.options import Options

__all__ = ["AlreadyFilled", "Options", "fill"]
