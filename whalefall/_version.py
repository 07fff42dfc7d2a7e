"""The version, in a file that imports nothing: PID 1 reads it, too."""

__version__ = "0.1.0"
