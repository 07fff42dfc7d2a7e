"""Nothing heavy here: fixtures that only some suites need live beside them."""

from hypothesis import HealthCheck, settings

# These machines are shared: how long a draw takes says nothing about a strategy.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")
