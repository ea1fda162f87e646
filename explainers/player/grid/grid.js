// A grid world (scene.Cells): its numbers at each step, and where its cells are on the canvas.

import { reader } from "../data.js";

/** @import { Cells, Context, NumberArray, Point, Track } from "../types.d.ts" */
/** @typedef {{polygon: Point[], middle: Point, unit: Point, action: number}} Sector */

export const FLOOR = 0;
export const WALL = 1;
export const FORBIDDEN = 2;
export const TARGET = 3;
const LARGEST_SIDE = 150; // px of a cell
const NO_AGENT = [-1, -1, -1];

/** The readers, places and beliefs of a grid world. @param {Cells} spec */
export function gridOf(spec) {
  const [rows, columns] = spec.shape;
  const actions = spec.directions.length;
  const agent = reader(spec.agent);
  /** @param {number | Track} source */
  const constantOr = (source) => (typeof source === "number" ? () => [source] : reader(source));
  const grid = {
    spec, rows, columns, actions,
    count: rows * columns,
    kinds: reader(spec.kinds), values: reader(spec.values), q: reader(spec.q), policy: reader(spec.policy),
    epsilon: reader(spec.epsilon), agent, flash: reader(spec.flash), told: reader(spec.told),
    start: constantOr(spec.start), limit: constantOr(spec.limit),
    sectors: spec.directions.map(([down, right], action) => sectorOf(spec.directions, down, right, action)),
    box: { x: 0, y: 0, side: 1, width: 1, total: 1 },

    /** Finds the places of the cells in a panel of this width. @param {number} width @param {number} room px of height */
    place(width, room) {
      const below = 24 + (spec.wind.some(Boolean) ? 18 : 0);
      const side = Math.max(2, Math.floor(Math.min((width - 4) / columns, ((Number.isFinite(room) ? room : spec.height || 440) - 4 - below) / rows, LARGEST_SIDE)));
      grid.box = { x: 2, y: 2, side, width, total: side * rows + 4 + below };
    },

    /** The middle of a cell. @param {number} cell @returns {Point} */
    centre: (cell) => [grid.box.x + ((cell % columns) + 0.5) * grid.box.side, grid.box.y + (Math.floor(cell / columns) + 0.5) * grid.box.side],

    /** The cell at a place; -1 for none. @param {number} x @param {number} y */
    cellAt(x, y) {
      const [column, row] = [Math.floor((x - grid.box.x) / grid.box.side), Math.floor((y - grid.box.y) / grid.box.side)];
      return row >= 0 && column >= 0 && row < rows && column < columns ? row * columns + column : -1;
    },

    /** Whether two cells touch. @param {number} a @param {number} b */
    near: (a, b) => Math.abs((a % columns) - (b % columns)) <= 1 && Math.abs(Math.floor(a / columns) - Math.floor(b / columns)) <= 1,

    /** The highest of the numbers (cells, actions) in a cell. @param {ArrayLike<number>} numbers @param {number} cell */
    bestOf(numbers, cell) {
      let best = -Infinity;
      for (let a = 0; a < actions; a++) best = Math.max(best, numbers[cell * actions + a]);
      return best;
    },

    /**
     * The probability of each action: as given, or epsilon-greedy in q; null where neither is known.
     * @param {number} step @param {number} cell @returns {number[] | null}
     */
    chances(step, cell) {
      if (grid.policy) return Array.from(grid.policy(step).subarray(cell * actions, (cell + 1) * actions));
      if (!grid.epsilon || !grid.q) return null;
      const numbers = grid.q(step), best = grid.bestOf(numbers, cell), explore = grid.epsilon(step)[0];
      const equal = Array.from({ length: actions }, (_, a) => numbers[cell * actions + a] === best);
      const first = equal.indexOf(true);
      const greedy = spec.first_best ? equal.map((_, a) => a === first) : equal;
      const many = greedy.filter(Boolean).length || 1;
      return greedy.map((chosen) => explore / actions + (chosen ? (1 - explore) / many : 0));
    },

    /** The cell that the agent left in a step: as the run says, for an episode may have begun there; else that of the step before. @param {number} step */
    leftIn: (step) => grid.agentAt(step)[3] ?? (step > 0 ? grid.agentAt(step - 1)[0] : -1),

    /** The agent's cell, the action intended and the one executed; -1 for none. @param {number} step @returns {NumberArray | number[]} */
    agentAt: (step) => (agent ? agent(step) : NO_AGENT),
  };
  return grid;
}

/**
 * The part of the unit square (corners at ±1) that belongs to an action: a polygon, and the middle for its number; null for staying.
 * @param {Point[]} directions @param {number} down @param {number} right @param {number} action @returns {Sector | null}
 */
function sectorOf(directions, down, right, action) {
  if (!down && !right) return null;
  const moving = directions.filter(([d, r]) => d || r).length;
  const half = Math.PI / Math.max(2, moving);
  const angle = Math.atan2(down, right);
  const corners = [-3, -1, 1, 3, 5].map((k) => (k * Math.PI) / 4).filter((at) => at > angle - half + 1e-9 && at < angle + half - 1e-9);
  /** @param {number} at @returns {Point} */
  const rim = (at) => {
    const [x, y] = [Math.cos(at), Math.sin(at)];
    const far = Math.max(Math.abs(x), Math.abs(y));
    return [x / far, y / far];
  };
  /** @type {Point[]} */
  const polygon = [[0, 0], ...[angle - half, ...corners, angle + half].map(rim)];
  const [x, y] = rim(angle);
  return { polygon, middle: [0.72 * x, 0.76 * y], unit: [Math.cos(angle), Math.sin(angle)], action };
}

/**
 * A straight arrow of this length, with its head beyond the end.
 * @param {Context} context @param {number} x @param {number} y @param {Point} place @param {number} length @param {number} head
 */
export function drawArrow(context, x, y, [right, down], length, head) {
  const [endX, endY] = [x + right * length, y + down * length];
  context.beginPath();
  context.moveTo(x, y);
  context.lineTo(endX, endY);
  context.stroke();
  context.beginPath();
  context.moveTo(endX + right * head, endY + down * head);
  context.lineTo(endX - down * head, endY + right * head);
  context.lineTo(endX + down * head, endY - right * head);
  context.closePath();
  context.fill();
}
