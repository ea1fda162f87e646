// Points, segments, rectangles, arrows and labels in data coordinates (scene.Marks).

import { reader } from "../data.js";
import { axisScale, css, hatch, inkOver, isClear, legibleTicks, LETTER, parseColour, roomForTicks, tickHeight, tickWidth, tint, write } from "../drawing.js";
import { inkOn } from "../contrast.js";
import { formatNumber } from "../numbers.js";
import { registerPanel } from "../panels.js";

/** @import { Context, Layer, Reader, Rectangle, State, Theme } from "../types.d.ts" */
/** @typedef {ReturnType<typeof withReaders>} ReadLayer */
/** @typedef {(context: Context, layer: ReadLayer, x: number, y: number, x2: number, y2: number, theme: Theme) => void} Painter */
/** @typedef {{area: Rectangle, colour: string}} Filled */
/** @typedef {{away: number, layer: ReadLayer, k: number, value: number, end: number, row: number}} Found */

/** @type {Record<Layer["anchor"], "left" | "center" | "right">} */
const ALIGNS = { left: "left", middle: "center", right: "right" };

/** @param {Layer} layer */
const withReaders = (layer) => ({
  ...layer, x: reader(layer.x), y: reader(layer.y), x2: reader(layer.x2), y2: reader(layer.y2), numbers: reader(layer.numbers), shown: reader(layer.shown),
});

registerPanel("marks", (spec) => {
  const layers = spec.layers.map(withReaders);
  const highlight = reader(spec.highlight);
  const readout = reader(spec.readout);
  const hasAxis = spec.x.ticks.length > 0 || spec.x.label;
  let box = { x: 0, y: 0, width: 1, height: 1, total: 1 };
  let [across, up] = [axisScale(spec.x, 0, 1), axisScale(spec.y, 0, 1)];
  /** @type {Filled[]} what lies under a label, the last on top */
  let filled = [];

  /** @param {number} width @param {number} room */
  function place(width, room) {
    const total = Math.round(Number.isFinite(room) ? room : spec.height || 180);
    const left = roomForTicks(spec.y, 44);
    const below = (readout ? 24 : 0) + (hasAxis ? 20 : 0);
    box = { x: left, y: 1, width: width - left - 1, height: total - below - 2, total };
    const edge = spec.frame ? 8 : 0;
    across = axisScale(spec.x, box.x + edge, box.x + box.width - edge);
    up = axisScale(spec.y, box.y + box.height - edge / 2, box.y + edge / 2);
  }

  /** A coordinate of mark k, part of the way from the previous step to this one. @param {Reader} read @param {number} k @param {State} state */
  function between(read, k, state) {
    const now = read(state.step)[k];
    if (state.mix === 1) return now;
    const before = read(state.previous)[k];
    return Number.isFinite(before) && Number.isFinite(now) ? before + (now - before) * state.mix : now;
  }

  /** @type {Record<Exclude<Layer["mark"], "label">, Painter>} */
  const painters = {
    point(context, layer, x, y) {
      context.beginPath();
      context.arc(x, y, layer.size, 0, 2 * Math.PI);
      if (layer.style === "hollow") context.stroke();
      else context.fill();
    },
    segment(context, layer, x, y, x2, y2) {
      context.lineWidth = layer.size / 2;
      context.beginPath();
      context.moveTo(x, y);
      context.lineTo(x2, y2);
      context.stroke();
    },
    arrow(context, layer, x, y, x2, y2, theme) {
      painters.segment(context, layer, x, y, x2, y2, theme);
      const angle = Math.atan2(y2 - y, x2 - x);
      const size = layer.size + 4;
      context.beginPath();
      context.moveTo(x2, y2);
      for (const turn of [-0.45, 0.45]) context.lineTo(x2 - size * Math.cos(angle + turn), y2 - size * Math.sin(angle + turn));
      context.fill();
    },
    rect(context, layer, x, y, x2, y2, theme) {
      const [wide, high] = [Math.abs(x2 - x), Math.abs(y2 - y)];
      const [left, top] = [Math.min(x, x2), Math.min(y, y2)];
      if (layer.style === "hatched") hatch(context, left, top, wide, high, theme.hues[layer.hue]);
      context.beginPath();
      context.roundRect(left, top, wide, high, Math.min(3, wide / 2, high / 2));
      if (layer.style === "hollow" || layer.style === "hatched") context.stroke();
      else {
        context.fill();
        filled.push({ area: [left, top, wide, high], colour: String(context.fillStyle) });
      }
    },
  };

  /**
   * Draws a layer; where there is a frame, what lies outside is cut off. Labels are not.
   * @param {Context} context @param {Theme} theme @param {ReadLayer} layer @param {State} state
   */
  function drawWithin(context, theme, layer, state) {
    if (!spec.frame || layer.mark === "label") return drawLayer(context, theme, layer, state);
    context.save();
    context.beginPath();
    context.rect(box.x - 1, box.y - 1, box.width + 2, box.height + 2);
    context.clip();
    drawLayer(context, theme, layer, state);
    return context.restore();
  }

  /** @param {Context} context @param {Theme} theme @param {ReadLayer} layer @param {State} state */
  function drawLayer(context, theme, layer, state) {
    const whole = layer.x(state.step).length;
    const count = layer.shown ? Math.min(whole, layer.shown(state.step)[0]) : whole;
    const colour = layer.style === "faint" ? tint(theme, layer.hue, 0.25) : theme.hues[layer.hue];
    for (let k = 0; k < count; k++) {
      const [x, y] = [across(between(layer.x, k, state)), up(between(layer.y, k, state))];
      if (Number.isNaN(x) || Number.isNaN(y)) continue;
      context.fillStyle = colour;
      context.strokeStyle = colour;
      context.lineWidth = 1.5;
      if (layer.mark === "label") drawLabel(context, theme, layer, k, x, y, state.step);
      else {
        const x2 = layer.x2 ? across(between(layer.x2, k, state)) : x;
        const y2 = layer.y2 ? up(between(layer.y2, k, state)) : y;
        painters[layer.mark](context, layer, x, y, x2, y2, theme);
      }
    }
  }

  /** @param {ReadLayer} layer @param {number} k */
  const nameOf = (layer, k) => layer.names[k] ?? "";

  /** @param {ReadLayer} layer @param {number} k @param {number} step */
  function labelText(layer, k, step) {
    const number = layer.numbers ? formatNumber(layer.numbers(step)[k], layer.format) : "";
    return nameOf(layer, k) + number;
  }

  /** @param {Context} context @param {Theme} theme @param {ReadLayer} layer @param {number} k @param {number} x @param {number} y @param {number} step */
  function drawLabel(context, theme, layer, k, x, y, step) {
    const weight = layer.numbers || layer.style === "solid" ? 600 : 400;
    const [text, size, align] = [labelText(layer, k, step), Math.max(LETTER, layer.size + 7), ALIGNS[layer.anchor]];
    context.font = `${weight} ${size}px ${theme.font}`;
    const wide = context.measureText(text).width;
    const beyond = align === "left" ? x + wide - (box.x + box.width) : 0;
    const at = x - Math.max(0, beyond); // whole, if there is room at all
    const grounds = coloursUnder([at - { left: 0, center: wide / 2, right: wide }[align], y - size / 2, wide, size], theme);
    const colour = layer.style === "hollow" ? inkOn(...grounds.map(parseColour)) : inkOver(theme, layer.hue, grounds);
    write(context, theme, text, at, y, { colour, align, size, weight });
  }

  /** The colours of what is drawn under a rectangle so far. @param {Rectangle} place @param {Theme} theme */
  function coloursUnder([left, top, wide, high], theme) {
    const found = [];
    for (let k = filled.length - 1; k >= 0; k--) {
      const { area: [x, y, width, height], colour } = filled[k];
      if (x >= left + wide || x + width <= left || y >= top + high || y + height <= top) continue;
      found.push(colour);
      if (x <= left && x + width >= left + wide && y <= top && y + height >= top + high) return found; // it covers the rest
    }
    return [...found, spec.frame ? theme.frame : css(theme.ground)];
  }

  /** @param {Context} context @param {Theme} theme @param {State} state */
  function drawGround(context, theme, state) {
    filled = [];
    if (spec.frame) {
      context.fillStyle = theme.frame;
      context.beginPath();
      context.roundRect(box.x, box.y, box.width, box.height, 4);
      context.fill();
    }
    if (highlight) {
      const y = highlight(state.step)[0];
      const half = Math.abs(up(y + 0.5) - up(y - 0.5)) / 2;
      context.fillStyle = tint(theme, "current", 0.18);
      if (Number.isFinite(y)) {
        context.fillRect(box.x, up(y) - half, box.width, 2 * half);
        filled.push({ area: [box.x, up(y) - half, box.width, 2 * half], colour: context.fillStyle });
      }
    }
    drawTicks(context, theme);
  }

  /** @param {Context} context @param {Theme} theme */
  function drawTicks(context, theme) {
    for (const { at, text } of legibleTicks(spec.x, across, tickWidth)) {
      if (isClear(spec.x.label, text, box.x + box.width - at)) write(context, theme, text, at, box.y + box.height + 11, { align: "center" });
    }
    for (const { at, text } of legibleTicks(spec.y, up, tickHeight)) write(context, theme, text, box.x - 5, at, { align: "right" });
    if (spec.x.label) write(context, theme, spec.x.label, box.x + box.width, box.y + box.height + 11, { align: "right" });
  }

  /** @param {Found} found @param {State} state */
  function wordsOf({ layer, k, value, end, row }, state) {
    const shown = layer.numbers ? layer.numbers(state.step)[k] : layer.mark === "rect" ? end : value;
    const where = spec.row_name ? `${spec.row_name} ${formatNumber(row, "d")}` : "";
    const format = layer.numbers ? layer.format : ".6g";
    return [where, nameOf(layer, k) || spec.title, formatNumber(shown, format)].filter(Boolean).join(": ");
  }

  return {
    layout(width, room) {
      place(width, room);
      return box.total;
    },
    draw(context, theme, state) {
      drawGround(context, theme, state);
      for (const layer of layers) drawWithin(context, theme, layer, state);
      if (readout) {
        const number = readout(state.step)[0];
        const text = Number.isNaN(number) ? "–" : formatNumber(number, spec.readout_format);
        const y = box.total - 11;
        write(context, theme, text, box.x + box.width / 2, y, { colour: theme.inks.current, size: 13, weight: 700, align: "center" });
      }
    },
    hit(x, y, state) {
      let best = null;
      for (const layer of layers.filter((one) => one.style !== "faint")) {
        const [xs, ys] = [layer.x(state.step), layer.y(state.step)];
        const count = layer.shown ? Math.min(xs.length, layer.shown(state.step)[0]) : xs.length;
        for (let k = 0; k < count; k++) {
          const [x2, y2] = [layer.x2 ? layer.x2(state.step)[k] : xs[k], layer.y2 ? layer.y2(state.step)[k] : ys[k]];
          const away = distanceToBox(x, y, across(xs[k]), up(ys[k]), across(x2), up(y2));
          if (away < 12 && (!best || away <= best.away)) best = { away, layer, k, value: xs[k], end: x2, row: ys[k] };
        }
      }
      if (!best) return null;
      const row = spec.row_name ? Math.round(best.row) : best.k;
      return { text: wordsOf(best, state), index: [row, best.k] };
    },
    describe(state) {
      const number = readout ? `: ${formatNumber(readout(state.step)[0], spec.readout_format)}` : "";
      return `${spec.title}${number}`;
    },
  };
});

/** @param {number} x @param {number} y @param {number} x1 @param {number} y1 @param {number} x2 @param {number} y2 */
function distanceToBox(x, y, x1, y1, x2, y2) {
  /** @param {number} at @param {number} a @param {number} b */
  const outside = (at, a, b) => Math.max(Math.min(a, b) - at, 0, at - Math.max(a, b));
  return Math.hypot(outside(x, x1, x2), outside(y, y1, y2));
}
