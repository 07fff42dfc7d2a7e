"""DOES: one facility of the operating system per file, no decision in any of them. Standard library only.

What can become readable or writable registers itself with the selector; its callback never blocks, takes at most one
chunk a turn and answers with events.
"""
