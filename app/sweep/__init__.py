"""The tab that tries all methods and budgets on one question."""
