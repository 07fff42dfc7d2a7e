"""DECIDES: pure functions about times, fires and runs.

No clock, no SQL, no randomness, no thread: `now` is an argument, chance is a hash. What is in here is tested in
virtual time.
"""
