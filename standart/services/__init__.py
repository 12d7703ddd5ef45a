"""The rules of the business.

Functions take a connection or session, the actor and keywords; they flush, never commit:
the unit of work belongs to the edge (``standart.db.transaction``, ``standart.db.autocommit``).
"""
