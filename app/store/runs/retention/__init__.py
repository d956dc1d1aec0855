"""How long runs are kept: the rule, and pruning by it. What was summed up of them stays."""
