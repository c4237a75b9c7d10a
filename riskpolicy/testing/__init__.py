"""Rule tests: `*.test.yaml` files beside rulesets, run, explained, covered and rewritten."""
