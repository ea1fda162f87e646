// The cells of a grid world on a canvas of their own, on which only those are drawn again that change.

import { inkOn } from "../contrast.js";
import { colourTable, contextOf, css, hatch, LETTER, write } from "../drawing.js";
import { formatNumber } from "../numbers.js";
import { drawArrow, FORBIDDEN, TARGET, WALL } from "./grid.js";

/** @import { Colour, Context, Grid, NumberArray, Theme } from "../types.d.ts" */
/** @typedef {"q" | "values" | "policy" | "kinds"} Layer */
/** @typedef {Record<Layer, NumberArray | null>} Numbers of a step */

const LARGEST = 15; // px of the numbers in large cells
const FAINTEST = 0.03; // probability of an action that is drawn: what exploring alone leaves is a heap of dots
const VERMILION = { light: "#D55E00", dark: "#FF8A4C" }; // forbidden, in every theme

/** The colour of forbidden cells. @param {Theme} theme */
export const forbiddenColour = (theme) => VERMILION[theme.dark ? "dark" : "light"];

/** The ground of a grid. @param {Grid} grid */
export function groundOf(grid) {
  const { spec, sectors, actions } = grid;
  const canvas = document.createElement("canvas");
  const drawn = { key: "", colours: new Uint8Array(0) };
  /** @type {Numbers} */
  const before = { q: null, values: null, policy: null, kinds: null };
  /** @type {[Layer, number][]} how many numbers of each a cell has */
  const widths = [["q", actions], ["values", 1], ["policy", actions], ["kinds", 1]];
  let letters = { size: 0, room: 0 }; // of the numbers in triangles, and the px that each may take
  // Radius, in sides, of the disc of staying, which holds the policy or its number; without staying the policy's own.
  const disc = !sectors.includes(null) ? 0.155 : grid.epsilon || grid.policy ? 0.2 : 0.17;

  /** Draws the cells whose numbers differ from those last drawn. @param {Context} context @param {Theme} theme @param {number} step */
  function paint(context, theme, step) {
    const density = context.getTransform().a;
    /** @type {Numbers} */
    const now = { q: grid.q?.(step) ?? null, values: grid.values?.(step) ?? null, policy: grid.policy?.(step) ?? null, kinds: grid.kinds(step) };
    const scale = grid.limit(step)[0] || 1;
    const exploring = grid.epsilon ? grid.epsilon(step)[0] : "";
    const key = [theme.key, density, grid.box.side, scale, grid.start(step)[0], exploring].join(" ");
    const all = key !== drawn.key;
    if (all) clear(theme, density, key);
    const on = contextOf(canvas);
    if (all) letters = lettering(on, theme);
    on.setTransform(density, 0, 0, density, 0, 0);
    for (let cell = 0; cell < grid.count; cell++) {
      const differs = widths.some(([name, width]) => changed(now[name], before[name], cell, width));
      if (all || differs) drawCell(on, theme, step, cell, now, scale);
    }
    for (const [name] of widths) before[name] = now[name]?.slice() ?? null;
    context.drawImage(canvas, 0, 0, canvas.width / density, canvas.height / density);
  }

  /** @param {Theme} theme @param {number} density @param {string} key */
  function clear(theme, density, key) {
    canvas.width = Math.ceil((grid.columns * grid.box.side + 4) * density);
    canvas.height = Math.ceil((grid.rows * grid.box.side + 4) * density);
    drawn.key = key;
    drawn.colours = colourTable(theme, "diverging", "output");
  }

  /** @param {number} value @param {number} scale */
  function colourAt(value, scale) {
    const at = 3 * Math.max(0, Math.min(255, Math.round(127.5 * (1 + value / scale))));
    return [drawn.colours[at], drawn.colours[at + 1], drawn.colours[at + 2]];
  }

  /** @param {Context} context @param {Theme} theme @param {number} step @param {number} cell @param {Numbers} now @param {number} scale */
  function drawCell(context, theme, step, cell, now, scale) {
    const [x, y] = grid.centre(cell);
    const { side } = grid.box, kind = grid.kinds(step)[cell];
    context.fillStyle = css(theme.ground);
    context.fillRect(x - side / 2, y - side / 2, side, side);
    if (kind === WALL) {
      context.fillStyle = theme.line;
      context.fillRect(x - side / 2, y - side / 2, side, side);
      hatch(context, x - side / 2, y - side / 2, side, side, theme.muted);
    } else if (now.q && !Number.isNaN(now.q[cell * actions])) drawTriangles(context, theme, cell, now.q, scale, x, y);
    else if (now.values && !Number.isNaN(now.values[cell])) drawValue(context, theme, now.values[cell], scale, x, y);
    context.strokeStyle = theme.line;
    context.lineWidth = 1;
    context.strokeRect(x - side / 2, y - side / 2, side, side);
    if (kind === FORBIDDEN || kind === TARGET) outline(context, theme, kind, x, y);
    if (kind !== WALL) drawPolicy(context, theme, step, cell, x, y, Boolean(now.q));
    const startFits = cell === grid.start(step)[0] && side >= (now.values ? 44 : 20);
    if (startFits) write(context, theme, "S", x - side / 2 + 4, y - side / 2 + 8, { weight: 700, colour: theme.text });
  }

  /** @param {Context} context @param {Theme} theme @param {number} kind @param {number} x @param {number} y */
  function outline(context, theme, kind, x, y) {
    const { side } = grid.box;
    const width = Math.max(1.5, Math.min(3, side / 22)), inset = width / 2 + 1;
    context.strokeStyle = kind === TARGET ? theme.hues.good : forbiddenColour(theme);
    context.lineWidth = width;
    if (kind === FORBIDDEN) context.setLineDash([2.2 * width, 1.4 * width]);
    context.strokeRect(x - side / 2 + inset, y - side / 2 + inset, side - 2 * inset, side - 2 * inset);
    context.setLineDash([]);
  }

  /** @param {number} value @param {number} [decimals] */
  const numberOf = (value, decimals = spec.decimals) => formatNumber(value, `.${Math.abs(value) >= 100 ? 0 : decimals}f`);

  /** How the numbers in triangles are written: alike in all cells; size 0 where they have no room. @param {Context} context @param {Theme} theme */
  function lettering(context, theme) {
    const { side } = grid.box;
    const full = sectors.includes(null) || grid.epsilon || grid.policy; // a disc takes the middle: less is left for the numbers
    const room = full ? (0.5 - disc) * side - 3 : 0.4 * side;
    const size = Math.min(LARGEST, Math.max(LETTER, side / 8));
    context.font = `700 ${size}px ${theme.font}`;
    return { size: context.measureText("-10").width <= room ? size : 0, room };
  }

  /** A number of a triangle, without decimals where it is too long with them. @param {Context} context @param {number} value */
  function shortened(context, value) {
    const text = numberOf(value);
    return context.measureText(text).width <= letters.room ? text : numberOf(value, 0);
  }

  /** @param {Context} context @param {Theme} theme @param {number} cell @param {NumberArray} numbers @param {number} scale @param {number} x @param {number} y */
  function drawTriangles(context, theme, cell, numbers, scale, x, y) {
    const half = grid.box.side / 2, best = grid.bestOf(numbers, cell);
    const { size } = letters;
    context.font = `700 ${size}px ${theme.font}`;
    /** @param {number} value */
    const isBest = (value) => shortened(context, value) === shortened(context, best); // what reads the same looks the same
    for (const sector of sectors.filter((each) => each !== null)) {
      const value = numbers[cell * actions + sector.action], colour = colourAt(value, scale);
      context.beginPath();
      for (const [k, [right, down]] of sector.polygon.entries()) context[k ? "lineTo" : "moveTo"](x + right * half, y + down * half);
      context.closePath();
      context.fillStyle = css(colour);
      context.fill();
      context.strokeStyle = css(theme.ground);
      context.lineWidth = 0.7;
      context.stroke();
      if (!size) continue;
      context.font = `700 ${size}px ${theme.font}`;
      const [right, down] = sector.middle, strong = isBest(value), text = shortened(context, value);
      const sideways = Math.abs(down) < 0.01; // such numbers keep to the edge of their cell
      const align = sideways ? (right > 0 ? "right" : "left") : "center";
      const at = sideways ? Math.sign(right) * (half - 4) : right * half;
      write(context, theme, text, x + at, y + down * half, { align, size, weight: strong ? 700 : 400, colour: inkOn(colour) });
    }
    const stay = sectors.indexOf(null);
    if (stay < 0 || grid.box.side < 12) return;
    const value = numbers[cell * actions + stay], colour = colourAt(value, scale);
    fillDisc(context, css(colour), x, y);
    context.strokeStyle = css(theme.ground);
    context.stroke();
    if (grid.epsilon || grid.policy || !size) return; // the policy is drawn there
    write(context, theme, shortened(context, value), x, y, { align: "center", size, weight: isBest(value) ? 700 : 400, colour: inkOn(colour) });
  }

  /** @param {Context} context @param {string} colour @param {number} x @param {number} y */
  function fillDisc(context, colour, x, y) {
    context.beginPath();
    context.arc(x, y, disc * grid.box.side, 0, 2 * Math.PI);
    context.fillStyle = colour;
    context.fill();
  }

  /** @param {Context} context @param {Theme} theme @param {number} value @param {number} scale @param {number} x @param {number} y */
  function drawValue(context, theme, value, scale, x, y) {
    const { side } = grid.box, colour = colourAt(value, scale), half = side / 2;
    context.fillStyle = css(colour);
    context.fillRect(x - half, y - half, side, side);
    const text = numberOf(value), arrows = grid.policy || grid.epsilon;
    const size = Math.max(LETTER, Math.min(LARGEST, side / 4.5));
    context.font = `600 ${size}px ${theme.font}`;
    if (context.measureText(text).width <= side - 6 && side >= (arrows ? 44 : 20)) write(context, theme, text, x, y + (arrows ? 0.32 * side : 0), { align: "center", size, weight: 600, colour: inkOn(colour) });
  }

  /**
   * Arrows from the middle, as long as their action is probable; a ring for staying.
   * @param {Context} context @param {Theme} theme @param {number} step @param {number} cell @param {number} x @param {number} y @param {boolean} onTriangles
   */
  function drawPolicy(context, theme, step, cell, x, y, onTriangles) {
    const { side } = grid.box, likely = grid.chances(step, cell);
    const unknown = grid.q && Number.isNaN(grid.q(step)[cell * actions]);
    if (!likely || Number.isNaN(likely[0]) || unknown || !likely.some((chance) => chance > 0) || side < 9) return;
    const head = 0.05 * side;
    const reach = onTriangles ? disc * side - head : 0.24 * side; // a number begins where the disc ends
    const lift = onTriangles || !grid.values ? 0 : 0.13 * side; // the number is below
    if (onTriangles && side >= 30) fillDisc(context, css(theme.ground), x, y);
    likely.forEach((chance, action) => {
      if (chance < FAINTEST) return;
      const sector = sectors[action];
      context.strokeStyle = context.fillStyle = theme.text;
      context.globalAlpha = 0.35 + 0.65 * chance;
      context.lineWidth = Math.max(1, side / 34);
      if (sector) drawArrow(context, x, y - lift, sector.unit, reach * chance, Math.max(2, head));
      else {
        context.beginPath();
        context.arc(x, y - lift, Math.max(1.5, 0.07 * side * chance), 0, 2 * Math.PI);
        context.stroke();
      }
      context.globalAlpha = 1;
    });
  }

  return { paint };
}

/** @param {NumberArray | null} now @param {NumberArray | null} before @param {number} cell @param {number} width */
function changed(now, before, cell, width) {
  if (!now) return false;
  for (let k = cell * width; k < (cell + 1) * width; k++) {
    if (now[k] !== before?.[k] && !(Number.isNaN(now[k]) && Number.isNaN(before?.[k]))) return true;
  }
  return false;
}
