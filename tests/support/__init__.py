"""Real parts for tests: pool, accounts, gateway, database, clients. Fixtures of them: ``conftest.py``."""
