"""MOVING OVER: other libraries' names on top of ours, so that moving is one import line."""
