"""What the mechanisms share: the snapshot bound to a plan, result tables, exact twins."""
