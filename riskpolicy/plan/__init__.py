"""The compiled form of a ruleset: frozen arrays and programs, every row with its rule id."""
