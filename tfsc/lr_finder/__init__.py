"""The learning-rate finder: range test, rules, table and picture."""
