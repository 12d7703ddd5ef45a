"""The parts of the proof of the books, by what they look at; ``verify_service`` runs them all.

Each part has its invariants' names and a ``check`` that yields what breaks them. They read and
nothing else: no lock that a writer feels.
"""
