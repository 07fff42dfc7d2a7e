"""TALKS TO PID 1: the protocol of the control socket (bytes ⇄ requests, no socket) and its blocking client.

Standard library only: the supervisor, the CLI and the pages share it.
"""
