// What panels share: the theme's colours, canvases, scales, hatching.

import { inkOf } from "./contrast.js";
import { formatNumber } from "./numbers.js";

/** @import { Axis, Colour, Context, Hue, Theme } from "./types.d.ts" */
/** @typedef {{colour?: string, size?: number, weight?: number, align?: CanvasTextAlign}} Look of a text */

/** @type {Record<"light" | "dark", Record<Hue, string>>} Okabe-Ito hues, with purple for scores and teal for outputs; one meaning, one colour (DESIGN: visual grammar) */
export const HUES = {
  light: {
    query: "#0072B2", key: "#E08E0B", value: "#009E73", score: "#6B3FA8", output: "#17858B", parameter: "#7A8296",
    gradient: "#8C5A2B", optimizer: "#A67C00", activation: "#3D9BD6", current: "#D55E00", muted: "#667085",
    good: "#0B7A4B", bad: "#C4320A",
  },
  dark: {
    query: "#56A5FF", key: "#F0A53A", value: "#3DB58C", score: "#B990F5", output: "#38B6BC", parameter: "#98A1B3",
    gradient: "#C08A57", optimizer: "#D9B040", activation: "#7CC4F2", current: "#FFC04D", muted: "#97A1B3",
    good: "#3FB950", bad: "#FF7B61",
  },
};

// Documents in a pack: eight hues after Okabe and Ito without the accent's vermilion, dark and light ones in turn.
const CYCLE = {
  light: ["#0072B2", "#E69F00", "#00805E", "#D98CB8", "#8C5A2B", "#56B4E9", "#6B3FA8", "#D6C42A"],
  dark: ["#3F8FDB", "#EDA63F", "#2A9B76", "#E8A6CB", "#A9744A", "#8FD0F5", "#9470DB", "#E9DC5E"],
};

export const LETTER = 12; // px of the smallest letters of a picture
export const LETTER_WIDTH = 7.2; // px that one of them takes, about

/** The colours in force where `element` stands; Streamlit's variables win, the system's choice is the fallback. @param {HTMLElement} element */
export function readTheme(element) {
  const style = getComputedStyle(element);
  const ground = parseColour(style.getPropertyValue("--ground"));
  const dark = ground[0] * 0.3 + ground[1] * 0.59 + ground[2] * 0.11 < 128;
  const hues = dark ? HUES.dark : HUES.light;
  const text = parseColour(style.getPropertyValue("--text"));
  const frame = mix(ground, text, dark ? 0.045 : 0.035);
  const inks = Object.fromEntries(Object.entries(hues).map(([name, hue]) => [name, css(inkOf(parseColour(hue), text, frame))]));
  return {
    dark, hues, ground,
    inks: /** @type {Record<Hue, string>} */ (inks), // the same for letters
    cycle: dark ? CYCLE.dark : CYCLE.light,
    key: style.getPropertyValue("--ground") + style.getPropertyValue("--text"),
    text: css(text),
    muted: inks.muted,
    line: css(mix(ground, text, dark ? 0.2 : 0.14)),
    frame: css(frame),
    font: style.fontFamily,
  };
}

/** @type {Map<string, Colour>} */
const parsedColours = new Map();
/** @type {Context | null} made when the first colour is read */
let colourParser = null;

/** @param {HTMLCanvasElement} canvas @returns {Context} */
export function contextOf(canvas) {
  const context = canvas.getContext("2d");
  if (!context) throw new Error("the browser draws on no canvas");
  return context;
}

/** Any CSS colour -> [red, green, blue]. @param {string} text */
export function parseColour(text) {
  const known = parsedColours.get(text);
  if (known) return known;
  colourParser ??= contextOf(document.createElement("canvas"));
  colourParser.fillStyle = "#ffffff";
  colourParser.fillStyle = text.trim() || "#ffffff";
  const normal = String(colourParser.fillStyle);
  const parts = normal.startsWith("#") ? [1, 3, 5].map((at) => parseInt(normal.slice(at, at + 2), 16)) : (normal.match(/[\d.]+/g) ?? []).slice(0, 3).map(Number);
  parsedColours.set(text, parts);
  return parts;
}

/** @param {Colour} from @param {Colour} to @param {number} share */
export const mix = (from, to, share) => from.map((part, k) => part + (to[k] - part) * share);
/** @param {Colour} colour */
export const css = (colour) => `rgb(${colour.map(Math.round).join(",")})`;

/** A hue mixed into the ground: share 0 is the ground, 1 the hue itself. @param {Theme} theme @param {Hue} hue @param {number} share */
export const tint = (theme, hue, share) => css(mix(theme.ground, parseColour(theme.hues[hue]), share));

/** @type {Map<string, string>} */
const knownInks = new Map();

/** A hue for letters over some grounds. @param {Theme} theme @param {Hue} hue @param {string[]} grounds */
export function inkOver(theme, hue, grounds) {
  const key = [theme.text, theme.hues[hue], ...grounds].join(" ");
  let ink = knownInks.get(key);
  if (!ink) {
    ink = css(inkOf(parseColour(theme.hues[hue]), parseColour(theme.text), ...grounds.map(parseColour)));
    knownInks.set(key, ink);
  }
  return ink;
}

/** 256 colours from `low` to `high` of a scale, as RGB bytes. @param {Theme} theme @param {"sequential" | "diverging"} scale @param {Hue} hue */
export function colourTable(theme, scale, hue) {
  const table = new Uint8Array(256 * 3);
  const end = parseColour(theme.hues[hue]);
  const below = parseColour(theme.hues.key);
  for (let k = 0; k < 256; k++) {
    const position = k / 255;
    const away = scale === "diverging" ? Math.abs(position - 0.5) * 2 : 0.06 + 0.94 * position;
    const colour = mix(theme.ground, scale === "diverging" && position < 0.5 ? below : end, away);
    table.set(colour.map(Math.round), k * 3);
  }
  return table;
}

/**
 * A canvas that is sharp at this device's pixel density and zoom. Returns its context, scaled to CSS pixels.
 * @param {HTMLCanvasElement} canvas @param {number} width @param {number} height @param {number} zoom
 */
export function sizeCanvas(canvas, width, height, zoom) {
  const density = Math.min((window.devicePixelRatio || 1) * zoom, 4);
  const [wide, high] = [Math.round(width * density), Math.round(height * density)];
  if (canvas.width !== wide || canvas.height !== high) {
    canvas.width = wide;
    canvas.height = high;
    canvas.style.height = `${height}px`;
  }
  const context = contextOf(canvas);
  context.setTransform(density, 0, 0, density, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

/**
 * The width in px that the numbers beside an upright axis take: at least so much, if any.
 * @param {Axis} axis @param {number} least
 */
export function roomForTicks(axis, least) {
  if (!axis.ticks.length) return 0;
  return Math.max(least, 8 + LETTER_WIDTH * Math.max(...axis.ticks.map((tick) => formatNumber(tick, axis.format).length)));
}

/**
 * The ticks of an axis whose numbers do not touch: where each is, and its text.
 * @param {Axis} axis @param {(value: number) => number} place @param {(text: string) => number} sizeOf px that a text takes along the axis
 */
export function legibleTicks(axis, place, sizeOf) {
  let end = -Infinity;
  const all = axis.ticks.map((tick) => ({ at: place(tick), text: formatNumber(tick, axis.format) })).sort((a, b) => a.at - b.at);
  return all.filter(({ at, text }) => {
    const half = sizeOf(text) / 2;
    if (at - half < end) return false;
    end = at + half;
    return true;
  });
}

/** px that a tick's text takes across, and up. */
export const tickWidth = (/** @type {string} */ text) => LETTER_WIDTH * text.length + 6;
export const tickHeight = () => LETTER + 2;

/** Data -> pixels along one direction of a panel (Axis in panels.py). @param {Axis} axis @param {number} from @param {number} to */
export function axisScale(axis, from, to) {
  /** @param {number} value */
  const place = (value) => (axis.log ? Math.log10(value) : value);
  const [low, high] = [place(axis.low), place(axis.high)];
  const [start, end] = axis.flip ? [to, from] : [from, to];
  /** @param {number} value */
  return (value) => start + ((place(value) - low) / (high - low || 1)) * (end - start);
}

/**
 * Fills the rectangle with diagonal lines: the sign of what was left out or recomputed.
 * @param {Context} context @param {number} x @param {number} y @param {number} width @param {number} height @param {string} colour
 */
export function hatch(context, x, y, width, height, colour) {
  context.save();
  context.beginPath();
  context.rect(x, y, width, height);
  context.clip();
  context.beginPath();
  for (let at = x - height - ((x - height) % 7); at < x + width; at += 7) {
    context.moveTo(at, y + height);
    context.lineTo(at + height, y);
  }
  context.strokeStyle = colour;
  context.lineWidth = 1;
  context.stroke();
  context.restore();
}

/** @param {Context} context @param {Theme} theme @param {string} text @param {number} x @param {number} y @param {Look} [look] */
export function write(context, theme, text, x, y, { colour = theme.muted, size = LETTER, weight = 400, align = "left" } = {}) {
  context.font = `${weight} ${size}px ${theme.font}`;
  context.fillStyle = colour;
  context.textAlign = align;
  context.textBaseline = "middle";
  context.fillText(text, x, y);
}

/**
 * Whether a number below an axis leaves room for the axis's label, which ends at the right end.
 * @param {string} label
 * @param {string} number
 * @param {number} left from the middle of the number to that end, in px
 */
export const isClear = (label, number, left) => !label || left - (LETTER_WIDTH / 2) * number.length > LETTER_WIDTH * label.length + 4;
