"""The rulesets that ship with riskpolicy: one folder a venue, one file a version."""
