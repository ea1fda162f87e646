// The words of a strip (scene.Strip): cut to their room, kept apart, in ink that can be read.

/** @import { Context } from "../types.d.ts" */
/** @typedef {{text: string, half: number, x: number}} Label half: of its width in px */

/** A text in the context's font, cut off where it is wider than its room in px. @param {Context} context @param {string} text @param {number} room */
export function shortened(context, text, room) {
  if (context.measureText(text).width <= room) return text;
  let end = text.length;
  while (end > 1 && context.measureText(`${text.slice(0, end)}…`).width > room) end -= 1;
  return `${text.slice(0, end)}…`;
}

/** The labels that do not touch one another; the last one always stays, the others give way from the left. @param {Label[]} labels */
export function apart(labels) {
  const last = labels[labels.length - 1];
  /** @type {Label[]} */
  const kept = [];
  for (const label of labels.slice(0, -1)) {
    /** @param {Label} other */
    const clear = (other) => Math.abs(label.x - other.x) >= label.half + other.half + 6;
    if (clear(last) && (!kept.length || clear(kept[kept.length - 1]))) kept.push(label);
  }
  return [...kept, last];
}
