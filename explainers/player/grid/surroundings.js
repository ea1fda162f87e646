// What a grid world has besides its cells: jumps, wind, a legend, and words for each cell.

import { css, LETTER, write } from "../drawing.js";
import { formatNumber } from "../numbers.js";
import { AGENT } from "./agent.js";
import { drawArrow, FLOOR, FORBIDDEN, TARGET, WALL } from "./grid.js";
import { forbiddenColour } from "./ground.js";

/** @import { Context, Grid, Point, Theme } from "../types.d.ts" */

const SMALLEST_WITH_JUMP = 40; // px of a cell in which the label of a jump has room

/** @type {Record<number, string>} */
const KINDS = { [FLOOR]: "", [WALL]: "wall", [FORBIDDEN]: "forbidden", [TARGET]: "target" };

/** Draws the jumps from cell to cell, each with what it earns. @param {Context} context @param {Theme} theme @param {Grid} grid */
export function drawJumps(context, theme, grid) {
  const { side } = grid.box;
  context.strokeStyle = context.fillStyle = theme.hues.score;
  for (const { cell, to, label } of grid.spec.arrows) {
    const [x, y] = grid.centre(cell), [endX, endY] = grid.centre(to);
    const [bendX, bendY] = [(x + endX) / 2 + 0.35 * (endY - y), (y + endY) / 2 - 0.35 * (endX - x)];
    context.lineWidth = 1.5;
    context.beginPath();
    context.moveTo(x, y);
    context.quadraticCurveTo(bendX, bendY, endX, endY);
    context.stroke();
    const angle = Math.atan2(endY - bendY, endX - bendX);
    drawArrow(context, endX, endY, [Math.cos(angle), Math.sin(angle)], 0, Math.max(3, 0.07 * side));
    writeJump(context, theme, label, [x + 0.5 * side - 3, y - 0.5 * side + 3], side);
  }
}

/**
 * What a jump earns, on a plate in the upper right corner of its cell, which no number of the cell reaches.
 * @param {Context} context @param {Theme} theme @param {string} label @param {Point} place @param {number} side
 */
function writeJump(context, theme, label, [right, top], side) {
  if (side < SMALLEST_WITH_JUMP) return;
  context.font = `700 ${LETTER}px ${theme.font}`;
  const wide = context.measureText(label).width + 4;
  context.save();
  context.fillStyle = css(theme.ground);
  context.fillRect(right - wide, top, wide, LETTER + 4);
  context.restore();
  write(context, theme, label, right - 2, top + LETTER / 2 + 2, { align: "right", weight: 700, colour: theme.inks.score });
}

/** @param {Context} context @param {Theme} theme @param {Grid} given */
export function drawWind(context, theme, { spec, rows, box }) {
  spec.wind.forEach((strength, column) => {
    if (!strength) return;
    const text = box.side >= 22 ? `↑ ${strength}` : String(strength);
    write(context, theme, text, box.x + (column + 0.5) * box.side, box.y + rows * box.side + 11, { align: "center", weight: 600 });
  });
}

/** What the outlines mean, as far as they occur. @param {Context} context @param {Theme} theme @param {number} step @param {Grid} given */
export function drawLegend(context, theme, step, { kinds, agent, box }) {
  const present = new Set(kinds(step));
  /** @type {[name: string, colour: string, dash: number[] | null][]} */
  const items = [];
  if (present.has(FORBIDDEN)) items.push(["forbidden", forbiddenColour(theme), [4, 2.5]]);
  if (present.has(TARGET)) items.push(["target", theme.hues.good, []]);
  if (agent) items.push(["agent", AGENT, null]);
  let x = box.x + 2;
  const y = box.total - 11;
  for (const [name, colour, dash] of items) {
    context.lineWidth = 2;
    context.strokeStyle = context.fillStyle = colour;
    context.beginPath();
    if (dash) {
      context.setLineDash(dash);
      context.strokeRect(x, y - 5, 12, 10);
      context.setLineDash([]);
    } else {
      context.arc(x + 6, y, 5, 0, 2 * Math.PI);
      context.fill();
    }
    write(context, theme, name, x + 18, y);
    x += 34 + context.measureText(name).width;
  }
}

/** What the hover says of a cell. @param {number} cell @param {number} step @param {Grid} grid */
export function wordsOf(cell, step, grid) {
  const { spec, columns, actions } = grid;
  const kind = KINDS[grid.kinds(step)[cell]];
  const parts = [`row ${Math.floor(cell / columns) + 1}, column ${(cell % columns) + 1}`, kind];
  if (grid.kinds(step)[cell] === WALL) return parts.join(": ");
  if (grid.values) parts.push(`value ${formatNumber(grid.values(step)[cell], ".4f")}`);
  const likely = grid.chances(step, cell), numbers = grid.q?.(step);
  spec.directions.forEach((direction, action) => {
    const value = numbers && formatNumber(numbers[cell * actions + action], ".4f");
    const chance = likely && likely[action] > 0 && `${Math.round(100 * likely[action])}%`;
    const known = [value, chance].filter(Boolean);
    if (known.length) parts.push(`${nameOf(direction)} ${known.join(", ")}`);
  });
  return parts.filter(Boolean).join(" · ");
}

/** @param {Point} place */
const nameOf = ([down, right]) => [["up", "", "down"][down + 1], ["left", "", "right"][right + 1]].filter(Boolean).join(" ") || "stay";
