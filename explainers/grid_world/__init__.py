"""The grid world: exact answers, planning, and agents that learn by trial, all on one table of moves."""
