// A grid world seen from above (scene.Cells): action values as triangles, policy as arrows, the agent and its trail.

import { registerPanel } from "../panels.js";
import { drawAgent } from "../grid/agent.js";
import { gridOf } from "../grid/grid.js";
import { groundOf } from "../grid/ground.js";
import { drawJumps, drawLegend, drawWind, wordsOf } from "../grid/surroundings.js";

/** @import { CellsAsked, Context } from "../types.d.ts" */

registerPanel("cells", (spec) => {
  const grid = gridOf(spec);
  const ground = groundOf(grid);
  const { columns, agent, told } = grid;

  /** @param {Context} context @param {number} cell @param {number} inset */
  function outlineCell(context, cell, inset) {
    if (!(cell >= 0)) return;
    const [x, y] = grid.centre(cell);
    const { side } = grid.box;
    context.strokeRect(x - side / 2 + inset, y - side / 2 + inset, side - 2 * inset, side - 2 * inset);
  }

  /** @type {CellsAsked} */
  const cells = {
    paint: spec.paint,
    painting: null,
    at: grid.cellAt,
    stepOf: told && ((cell, step, steps) => {
      for (let at = step; at >= 0; at--) if (told(at)[0] === cell) return at;
      for (let at = step + 1; at < steps; at++) if (told(at)[0] === cell) return at;
      return -1;
    }),
  };

  return {
    cells,
    layout(width, room) {
      grid.place(width, room);
      return grid.box.total;
    },
    used: () => grid.columns * grid.box.side + 4,
    draw(context, theme, state) {
      ground.paint(context, theme, state.step);
      drawJumps(context, theme, grid);
      drawWind(context, theme, grid);
      drawLegend(context, theme, state.step, grid);
      if (agent) drawAgent(context, theme, state, grid);
      context.strokeStyle = theme.hues.current;
      context.lineWidth = 3;
      if (told && !agent) outlineCell(context, told(state.step)[0], 1.5);
      context.lineWidth = 2;
      for (const cell of cells.painting ?? []) outlineCell(context, cell, 1);
    },
    hit(x, y, state) {
      const cell = grid.cellAt(x, y);
      if (cell < 0) return null;
      return { text: wordsOf(cell, state.step, grid), index: [Math.floor(cell / columns), cell % columns] };
    },
    describe(state) {
      const cell = agent ? agent(state.step)[0] : -1;
      const where = cell >= 0 ? `, the agent in row ${Math.floor(cell / columns) + 1}, column ${(cell % columns) + 1}` : "";
      return `${spec.title}, ${grid.rows} by ${columns} cells${where}`;
    },
  };
});
