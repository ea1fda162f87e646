// Packs as rows of coloured runs of tokens (scene.Strip): documents in a cycle of hues, padding hatched.

import { css, hatch, LETTER, LETTER_WIDTH, parseColour, tint, write } from "../drawing.js";
import { inkOn } from "../contrast.js";
import { formatNumber } from "../numbers.js";
import { registerPanel } from "../panels.js";
import { apart, shortened } from "../strip/labels.js";
import { alternation, hulls, openings } from "../strip/runs.js";

/** @import { Context, Theme } from "../types.d.ts" */

const [PADDING, NEUTRAL, IGNORED] = [-1, -2, -3];
const ROW_PITCH = [5, 24]; // px from one row to the next: the least and the most; one of them is the gap below it
const RULER_HEIGHT = 24;
const MOST_OUTLINED = 8; // where more come at once, none of them is the current one

registerPanel("strip", (spec) => {
  const arrays = [spec.row, spec.start, spec.length, spec.hue, spec.appears, spec.leaves];
  const [row, start, length, hue, appears, leaves] = arrays.map((array) => array.data);
  const runs = row.length;
  const closes = spec.closes?.data ?? null;
  const opens = openings(spec.rows, row, appears);
  const alternates = alternation(spec.rows, { row, start, hue });
  const arrivals = [...row.keys()].filter((k) => hue[k] >= 0).sort((a, b) => appears[a] - appears[b]);
  /** @type {Map<string, number>} in px, by text */
  const textWidths = new Map();
  let box = { x: 0, y: 0, width: 1, height: 1, total: 1 };
  let pitch = ROW_PITCH[1];
  let shownRows = spec.rows;
  let firstRow = 0;

  /** @param {number} k @param {number} step */
  const isThere = (k, step) => appears[k] <= step && step < leaves[k];
  /** @param {number} at @param {number} step */
  const isClosed = (at, step) => closes !== null && closes[at] >= 0 && closes[at] <= step;
  /** @param {number} token */
  const left = (token) => box.x + (token / spec.capacity) * box.width;
  /** @param {number} at */
  const top = (at) => box.y + (at - firstRow) * pitch;
  const tall = () => pitch - (pitch < 12 ? 1 : 4);
  /** @param {number} at */
  const inSight = (at) => at >= firstRow && at < firstRow + shownRows;
  /** @param {number} at */
  const rowName = (at) => spec.row_names[at] ?? (spec.rows > 1 ? `row ${at + 1}` : spec.title);
  const scrolls = () => shownRows < spec.rows;

  /** @param {number} width @param {number} given px of height; Infinity: as many as it likes */
  function place(width, given) {
    const letters = Math.max(0, ...spec.row_names.map((name) => name.length));
    const names = letters ? Math.min(10 + LETTER_WIDTH * letters, 0.34 * width) : 0;
    const below = spec.ruler.length ? RULER_HEIGHT : 0;
    const [least, most] = ROW_PITCH;
    const bounded = Number.isFinite(given);
    const room = (bounded ? given : spec.height || Math.min(spec.rows, 12) * most + below + 4) - below - 4;
    pitch = Math.min(most, Math.max(least, room / spec.rows));
    shownRows = Math.max(1, Math.min(spec.rows, Math.floor(room / pitch + 1e-6)));
    const high = bounded || spec.height ? room : shownRows * pitch;
    box = { x: names + 1, y: 2, width: width - names - (scrolls() ? 12 : 3), height: high, total: high + below + 4 };
  }

  /** The document that came last, which must stay in sight; -1 before the first. @param {number} step */
  function latest(step) {
    let [low, high] = [0, arrivals.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (appears[arrivals[middle]] <= step) low = middle + 1;
      else high = middle;
    }
    return low ? arrivals[low - 1] : -1;
  }

  /** @param {number} step */
  function follow(step) {
    const k = latest(step);
    const at = k < 0 ? 0 : row[k];
    const margin = Math.min(2, (shownRows - 1) >> 1);
    firstRow = Math.min(firstRow, at - margin);
    firstRow = Math.max(firstRow, at + margin + 1 - shownRows);
    firstRow = Math.max(0, Math.min(firstRow, spec.rows - shownRows));
  }

  // ------------------------------------------------------------------------------------------------- drawing

  /** @param {Context} context @param {Theme} theme @param {number} at @param {number} step */
  function drawRow(context, theme, at, step) {
    if (step < opens[at]) return;
    const [y, high] = [top(at), tall()];
    context.fillStyle = theme.frame;
    context.fillRect(box.x, y, box.width, high);
    const closed = isClosed(at, step);
    context.strokeStyle = closed || closes === null ? theme.line : theme.muted;
    context.lineWidth = 1;
    if (pitch >= 8) context.strokeRect(box.x - 0.5, y - 0.5, box.width + 1, high + 1);
    if (!closed) return;
    context.fillStyle = theme.muted; // the lid
    context.fillRect(box.x + box.width, y - 0.5, 2, high + 1);
  }

  /** @param {Context} context @param {Theme} theme @param {number} step */
  function drawNames(context, theme, step) {
    if (!spec.row_names.length) return;
    const every = Math.ceil((LETTER + 2) / pitch);
    context.font = `400 ${LETTER}px ${theme.font}`;
    for (let at = firstRow; at < firstRow + shownRows; at++) {
      if (at % every !== 0 || step < opens[at]) continue;
      const name = shortened(context, rowName(at), box.x - 6);
      write(context, theme, name, box.x - 6, Math.max(6, top(at) + tall() / 2 + 0.5), { align: "right" });
    }
  }

  /** Where run k lies, a hair apart from its neighbour where there is room for that. @param {number} k */
  function runBox(k) {
    const [from, to] = [left(start[k]), left(start[k] + length[k])];
    const wide = Math.max(0.8, to - from - (to - from > 4 ? 1 : 0));
    return [from, top(row[k]), wide, tall()];
  }

  /** @param {Context} context @param {Theme} theme @param {number} k */
  function drawRun(context, theme, k) {
    const [x, y, wide, high] = runBox(k);
    if (hue[k] === PADDING) {
      hatch(context, x, y, wide, high, tint(theme, "muted", 0.75));
      return;
    }
    if (hue[k] === IGNORED) {
      context.strokeStyle = theme.muted;
      context.setLineDash([3, 2]);
      context.lineWidth = 1;
      context.strokeRect(x + 0.5, y + 0.5, Math.max(0, wide - 1), high - 1);
      context.setLineDash([]);
      drawText(context, theme, k, theme.muted);
      return;
    }
    const colour = hue[k] === NEUTRAL ? tint(theme, "parameter", 0.45) : theme.cycle[hue[k] % theme.cycle.length];
    const ink = inkOn(parseColour(colour));
    context.fillStyle = colour;
    context.fillRect(x, y, wide, high);
    if (alternates[k] && wide > 5 && high > 6) {
      context.strokeStyle = ink;
      context.globalAlpha *= 0.55;
      context.lineWidth = 1;
      context.strokeRect(x + 1.5, y + 1.5, wide - 3, high - 3);
      context.globalAlpha /= 0.55;
    }
    drawText(context, theme, k, ink);
  }

  /** @param {Context} context @param {Theme} theme @param {number} k @param {string} colour */
  function drawText(context, theme, k, colour) {
    const text = spec.texts[k];
    const [x, y, wide, high] = runBox(k);
    if (!text || high < LETTER) return;
    let needed = textWidths.get(text);
    if (needed === undefined) {
      context.font = `600 ${LETTER}px ${theme.font}`;
      needed = context.measureText(text).width;
      textWidths.set(text, needed);
    }
    if (needed > wide - 4) return;
    write(context, theme, text, x + wide / 2, y + high / 2 + 0.5, { colour, weight: 600, align: "center" });
  }

  /**
   * The accent's outline, with the ground around it so that it shows on any colour.
   * @param {Context} context @param {Theme} theme @param {[first: number, last: number]} hull
   */
  function drawCurrent(context, theme, [first, last]) {
    const [x, y, , high] = runBox(first);
    const [lastX, , lastWide] = runBox(last);
    const wide = lastX + lastWide - x;
    const edge = pitch < 12 ? 0.5 : 1;
    context.strokeStyle = css(theme.ground);
    context.lineWidth = 5;
    context.strokeRect(x - edge, y - edge, wide + 2 * edge, high + 2 * edge);
    context.strokeStyle = theme.hues.current;
    context.lineWidth = 2.5;
    context.strokeRect(x - edge, y - edge, wide + 2 * edge, high + 2 * edge);
  }

  /** @param {Context} context @param {Theme} theme */
  function drawRuler(context, theme) {
    const y = box.y + (shownRows - 1) * pitch + tall() + 3;
    context.strokeStyle = theme.muted;
    context.lineWidth = 1;
    context.beginPath();
    for (const [position] of spec.ruler) {
      context.moveTo(left(position), y);
      context.lineTo(left(position), y + 5);
    }
    context.stroke();
    for (const { text, x } of rulerLabels(context, theme)) write(context, theme, text, x, y + 13, { align: "center" });
  }

  /** @param {Context} context @param {Theme} theme */
  function rulerLabels(context, theme) {
    context.font = `400 ${LETTER}px ${theme.font}`;
    return apart(spec.ruler.map(([position, text]) => {
      const half = context.measureText(text).width / 2;
      return { text, half, x: Math.max(half, Math.min(left(position), box.x + box.width + 2 - half)) };
    }));
  }

  /** Where a pack should end, though some go on. @param {Context} context @param {Theme} theme */
  function drawLimit(context, theme) {
    context.strokeStyle = theme.hues.bad;
    context.lineWidth = 1.5;
    context.setLineDash([4, 3]);
    context.beginPath();
    context.moveTo(left(spec.limit), box.y - 2);
    context.lineTo(left(spec.limit), box.y + shownRows * pitch);
    context.stroke();
    context.setLineDash([]);
  }

  /** @param {Context} context @param {Theme} theme */
  function drawScroll(context, theme) {
    const [x, share] = [box.x + box.width + 6, box.height / spec.rows];
    context.fillStyle = theme.frame;
    context.fillRect(x, box.y, 4, box.height);
    context.fillStyle = theme.muted;
    context.fillRect(x, box.y + firstRow * share, 4, Math.max(8, shownRows * share));
  }

  // --------------------------------------------------------------------------------------------------- words

  /** What the hover says of run k. @param {number} k */
  function note(k) {
    if (spec.notes[k]) return spec.notes[k];
    const name = { [PADDING]: "padding", [NEUTRAL]: "tokens", [IGNORED]: "ignored" }[hue[k]] ?? `document ${hue[k]}`;
    return `${rowName(row[k])}: ${name}, ${formatNumber(length[k], "d")} tokens from ${formatNumber(start[k], "d")}`;
  }

  return {
    layout(width, room) {
      place(width, room);
      return box.total;
    },
    draw(context, theme, state) {
      follow(state.step);
      for (let at = firstRow; at < firstRow + shownRows; at++) drawRow(context, theme, at, state.step);
      drawNames(context, theme, state.step);
      const arrived = [];
      for (let k = 0; k < runs; k++) {
        if (!isThere(k, state.step) || !inSight(row[k])) continue;
        context.globalAlpha = appears[k] > state.previous ? state.mix : 1;
        drawRun(context, theme, k);
        if (appears[k] === state.step && state.step > 0 && hue[k] !== PADDING) arrived.push(k);
      }
      context.globalAlpha = 1;
      const outlined = hulls(arrived, { row, start, length });
      if (outlined.length <= MOST_OUTLINED) for (const hull of outlined) drawCurrent(context, theme, hull);
      if (spec.limit) drawLimit(context, theme);
      if (spec.ruler.length) drawRuler(context, theme);
      if (scrolls()) drawScroll(context, theme);
    },
    hit(x, y, state) {
      const at = firstRow + Math.floor((y - box.y) / pitch);
      const token = Math.floor(((x - box.x) / box.width) * spec.capacity);
      if (!inSight(at) || token < 0 || token >= spec.capacity || state.step < opens[at]) return null;
      for (let k = 0; k < runs; k++) {
        if (row[k] !== at || !isThere(k, state.step)) continue;
        if (token >= start[k] && token < start[k] + length[k]) return { text: note(k), index: [at, token, k] };
      }
      return { text: `${rowName(at)}: free from here`, index: [at, token, -1] };
    },
    describe(state) {
      let [tokens, padding] = [0, 0];
      for (let k = 0; k < runs; k++) {
        if (!isThere(k, state.step)) continue;
        if (hue[k] === PADDING) padding += length[k];
        else tokens += length[k];
      }
      const open = opens.filter((step) => step <= state.step).length;
      const closed = opens.filter((_, at) => isClosed(at, state.step)).length;
      const k = latest(state.step);
      const parts = [
        `${formatNumber(open, "d")} of ${formatNumber(opens.filter(Number.isFinite).length, "d")} rows`,
        closed ? `${formatNumber(closed, "d")} closed` : "",
        `${formatNumber(tokens, "d")} tokens and ${formatNumber(padding, "d")} of padding`,
        k >= 0 && appears[k] === state.step ? `now ${note(k)}` : "",
      ];
      return `${spec.title || "Packs"}: ${parts.filter(Boolean).join(", ")}`;
    },
  };
});
