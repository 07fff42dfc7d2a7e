"""READS THE WORLD: Procfile, .env, settings, options, Nginx templates → a Plan. Short-lived; may use any good library.

It may fail, and then says in one sentence what, where and how to mend. It never starts a service and never imports the
supervisor. `build.build()` is the door; everything else here answers one question of it.
"""
