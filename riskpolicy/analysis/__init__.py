"""Questions about a ruleset itself: what a careful reader would remark, and how it should be laid out."""
