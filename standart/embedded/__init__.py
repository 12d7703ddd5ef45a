"""Real engines from wheels: PostgreSQL and Valkey in the data dir, for `up` and the tests.

They listen on unix sockets below the data dir. A socket's path is limited to about a
hundred bytes, so in a deeper data dir they listen on the loopback instead; never on both,
since a port that nobody needs is open to every other account of the machine.
"""

from standart.embedded.postgres import Postgres, start_postgres
from standart.embedded.process import EngineError
from standart.embedded.valkey import Valkey, start_valkey

__all__ = ["EngineError", "Postgres", "Valkey", "start_postgres", "start_valkey"]
