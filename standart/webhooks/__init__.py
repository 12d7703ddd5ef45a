"""Webhooks by Standard Webhooks: how they are signed, where they may go, how they are sent.

``signing`` and ``addresses`` are pure and may be used by everyone. ``sender`` talks to the
network and belongs to the worker alone, as ``checkup`` does to whoever asks for a check-up; that is
why nothing is imported here.
"""
