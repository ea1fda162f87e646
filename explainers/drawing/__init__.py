"""What the player can draw, as plain data: scenes, panels, axes, formulas, source code."""
