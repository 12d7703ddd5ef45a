"""Nothing lost: webhooks while everything around them is killed, by a seeded schedule.

``python -m tests.acceptance.chaos`` (``make chaos``) runs it at length, a test of
``tests/acceptance/faults`` in small.
"""
