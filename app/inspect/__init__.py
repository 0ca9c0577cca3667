"""Inspect many: a job of pictures and questions, answered one after the other, seen, voted on and exported."""
