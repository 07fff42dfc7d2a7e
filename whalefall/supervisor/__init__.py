"""PID 1: standard library only, one thread, no asyncio. Takes a Plan and keeps it true.

`core` decides, `edge` does, `loop` is where they meet. Nothing in here knows Procfiles, settings, Flask or Nginx.
"""
