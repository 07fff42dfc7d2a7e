"""DECIDES: pure functions of (state, event, now). No clock, descriptor, system call or randomness of its own.

`now` is monotonic seconds, `rng` is passed in. Read in this order: events, actions, lifecycle, restarts, memory,
handover, engine.
"""
