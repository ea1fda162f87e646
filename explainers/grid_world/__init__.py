"""The grid world: exact solutions, planning, and agents that learn by trial and error, on one table of moves."""
