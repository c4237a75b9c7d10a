"""The written form: what a ruleset file says, loaded with the place of every part."""
