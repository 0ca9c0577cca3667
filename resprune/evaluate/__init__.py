"""Question sets, and how many of their questions a model answers rightly."""
