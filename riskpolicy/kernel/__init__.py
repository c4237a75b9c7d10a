"""Programs over rows and the compiled loops; knows no margin rule and no ruleset."""
