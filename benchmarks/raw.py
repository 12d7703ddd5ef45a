"""The statement of Standart's create as a pgbench script: what the database alone can do."""

from __future__ import annotations

import re
import secrets

from standart.services.key_service import KeyDigest
from standart.services.transaction_sql import CREATE


def script(digest: KeyDigest, ttl_seconds: int = 900) -> str:
    """Return a pgbench script that runs the very statement with fresh ids and keys.

    Values that do not vary stand in it as literals; pgbench has no text variables. Its
    parser takes every colon before a letter for a variable, also inside a literal, so the
    time format is put together from pieces that the planner folds again.
    """
    seed = secrets.token_hex(4)
    values = {
        "digest": f"'\\x{digest.value.hex()}'::bytea",
        "scope": "'write'",
        "amount": "'100.00'",
        "currency": "NULL",
        "id": "gen_random_uuid()",
        "user_id": "NULL",
        "reference": "NULL",
        "description": "NULL",
        "metadata": "'{}'",
        "ttl": f"{ttl_seconds}",
        "path": "'/create_transaction'",
        "key": f"'{seed}-' || :a || '-' || :b",
        "fingerprint": f"'\\x{'ab' * 32}'::bytea",
        "answer_status": "201",
    }
    sql = CREATE[True].text.replace("HH24:MI:SS", "HH24' || chr(58) || 'MI' || chr(58) || 'SS")
    sql = re.sub(r"(?<![:\w]):([a-z_]+)", lambda found: values[found[1]], sql)
    return f"\\set a random(1, 2000000000)\n\\set b random(1, 2000000000)\n{sql};\n"
