"""Webhooks: throughput, latency and fairness; ``python -m benchmarks.webhooks`` runs it all."""
