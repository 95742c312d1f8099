"""Migration checks: whether a table that moved to another name, engine or home still holds what it held, value by value."""
