"""Tests of the hook frame."""
