"""Figures as JSON, with the machine that they were measured on."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.rounds import Round, median_of


def machine() -> dict[str, object]:
    """Return what the figures depend on besides the programs."""
    return {
        "processors": os.cpu_count(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "load_average": [round(value, 2) for value in os.getloadavg()],
    }


def rounds_as_json(
    rounds: Mapping[str, Sequence[Round]], what: str = "creates"
) -> dict[str, object]:
    """Return each contender's median and all its rounds; ``what`` is what was counted."""
    return {
        name: {
            f"{what}_per_second": round(median_of(own, "rate") or 0.0, 1),
            "rounds": [{"rate": round(each.rate, 1), **asdict(each)} for each in own],
        }
        for name, own in rounds.items()
    }


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write a file of figures, its folder made where it is missing, and say so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    print(f"\nwritten to {path}")
