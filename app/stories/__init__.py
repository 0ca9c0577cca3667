"""Stories: what pruning does, told in six steps by real runs of the bundled model, and each to be run live."""
