"""Nothing heavy here: fixtures that only some suites need live beside them."""
