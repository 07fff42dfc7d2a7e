"""THE API under /api/v1: one envelope, one guard, one OpenAPI document. It fits into any Flask app with a Scheduler.

Each file is one part of the address space; `blueprint.py` says how an operation is declared, so that its access rule,
its schema and its documentation cannot drift apart.
"""
