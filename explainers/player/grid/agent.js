// The agent of a grid world: where it is, where it came from, and the numbers of the step beside it.

import { css, LETTER, write } from "../drawing.js";
import { formatNumber } from "../numbers.js";
import { drawArrow } from "./grid.js";

/** @import { Context, Grid, Point, State, Theme } from "../types.d.ts" */

export const AGENT = "#F2C200";
const INK = "#10131a";

/** Draws the agent on its way to the cell of the step. @param {Context} context @param {Theme} theme @param {State} state @param {Grid} grid */
export function drawAgent(context, theme, state, grid) {
  const [cell, intended, executed] = grid.agentAt(state.step);
  if (!(cell >= 0)) return;
  drawTrail(context, state.step, grid);
  const from = state.step === state.previous + 1 ? grid.leftIn(state.step) : grid.agentAt(state.previous)[0];
  const to = grid.centre(cell);
  const start = from >= 0 && grid.near(from, cell) ? grid.centre(from) : to;
  /** @type {Point} */
  const at = [start[0] + (to[0] - start[0]) * state.mix, start[1] + (to[1] - start[1]) * state.mix];
  const before = grid.leftIn(state.step);
  if (before >= 0 && executed >= 0 && intended !== executed) drawSlip(context, theme, before, intended, executed, grid);
  drawBody(context, at, Math.max(2.5, 0.2 * grid.box.side));
  if (state.step > 0) drawFlash(context, theme, state.step, at, grid);
}

/** @param {Context} context @param {Point} place @param {number} radius */
function drawBody(context, [x, y], radius) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fillStyle = AGENT;
  context.fill();
  context.strokeStyle = INK;
  context.lineWidth = Math.max(1, radius / 8);
  context.stroke();
  if (radius <= 6) return;
  context.fillStyle = INK;
  for (const eye of [-0.35, 0.35]) {
    context.beginPath();
    context.arc(x + eye * radius, y - 0.15 * radius, 0.12 * radius, 0, 2 * Math.PI);
    context.fill();
  }
}

/** @param {Context} context @param {number} step @param {Grid} grid */
function drawTrail(context, step, grid) {
  const { trail } = grid.spec;
  context.strokeStyle = AGENT;
  context.lineWidth = Math.max(1.5, 0.05 * grid.box.side);
  context.lineCap = "round";
  for (let back = 0; back < Math.min(trail, step + 1); back++) {
    const [a, b] = [grid.leftIn(step - back), grid.agentAt(step - back)[0]];
    if (a >= 0 && b >= 0 && a !== b && grid.near(a, b)) {
      context.globalAlpha = 0.85 * (1 - back / trail);
      context.beginPath();
      context.moveTo(...grid.centre(a));
      context.lineTo(...grid.centre(b));
      context.stroke();
    }
    if (step > back && grid.agentAt(step - back - 1)[0] !== a) break; // an episode began here
  }
  context.globalAlpha = 1;
}

/**
 * What was intended, dashed, beside what was done.
 * @param {Context} context @param {Theme} theme @param {number} cell @param {number} intended @param {number} executed @param {Grid} grid
 */
function drawSlip(context, theme, cell, intended, executed, grid) {
  const [x, y] = grid.centre(cell);
  const { side } = grid.box;
  /** @type {[number, boolean][]} */
  const arrows = [[intended, true], [executed, false]];
  for (const [action, dashed] of arrows) {
    const sector = grid.sectors[action];
    if (!sector) continue;
    context.strokeStyle = context.fillStyle = dashed ? theme.muted : theme.text;
    context.lineWidth = Math.max(1.2, side / 30);
    context.setLineDash(dashed ? [3, 3] : []);
    drawArrow(context, x, y, sector.unit, 0.4 * side, Math.max(2.5, 0.06 * side));
  }
  context.setLineDash([]);
}

/**
 * The numbers of the step on a plate beside the agent's cell: above, or below in the first row.
 * @param {Context} context @param {Theme} theme @param {number} step @param {Point} place @param {Grid} grid
 */
function drawFlash(context, theme, step, [x, y], { flash, spec, box }) {
  if (!flash) return;
  const numbers = Array.from(flash(step), (value, k) => (Number.isNaN(value) ? "" : `${spec.flash_names[k]} ${formatNumber(value, spec.format)}`));
  const text = numbers.filter(Boolean).join("  ");
  if (!text) return;
  context.font = `600 ${LETTER}px ${theme.font}`;
  const wide = context.measureText(text).width + 12;
  const left = Math.max(2, Math.min(box.width - wide - 2, x - wide / 2));
  const top = y - 0.5 * box.side - 18 >= 0 ? y - 0.3 * box.side - 18 : y + 0.3 * box.side;
  context.globalAlpha = 0.94;
  context.fillStyle = css(theme.ground);
  context.strokeStyle = theme.line;
  context.lineWidth = 1;
  context.beginPath();
  context.roundRect(left, top, wide, 18, 4);
  context.fill();
  context.stroke();
  context.globalAlpha = 1;
  write(context, theme, text, left + 6, top + 9.5, { weight: 600, colour: theme.text });
}
