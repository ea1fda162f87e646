// The keys of a player, and which player they belong to.

import { stopAfter, stopBefore } from "./playback.js";

const WRITES = "textarea, select, [contenteditable], input:not([type=range], [type=radio], [type=checkbox])";
const TAKES_KEYS = "input, textarea, select, button, a, [role], [contenteditable], [tabindex]";
const CONTROL = "input, button, label, [role], [data-baseweb]"; // of the page
const REMOTE = ["PageUp", "PageDown"]; // what a presenter's remote sends

/** @typedef {number | "play" | "picture" | "screen" | "code"} Meaning a step to go to, or an action */

/** @type {{root: HTMLElement | null}} the player that the reader touched last */
const active = { root: null };

/** Whether the event of a key is meant for a control of the page. @param {string} key */
export const changesControl = (key) => /^(Arrow.*|Home|End|Page.*|Enter| )$/.test(key);

/** Whether an event is meant for a control of the page, outside the player. @param {EventTarget} target @param {HTMLElement} root */
export const pageControl = (target, root) => target instanceof Element && !root.contains(target) && target.closest(CONTROL) !== null;

/** Takes the focus from an element, which may be of HTML, SVG or MathML. @param {Element | null} element */
export function blur(element) {
  if (element && "blur" in element && typeof element.blur === "function") element.blur();
}

/** @param {HTMLElement} root */
export const makeActive = (root) => { active.root = root; };

/** Makes a player the active one if no other is on the page. @param {HTMLElement} root */
export function makeActiveIfNone(root) {
  if (!active.root?.isConnected) makeActive(root);
}

/** A pointer on the picture takes the keys from a button, tab or slider that was used before; never from a text. @param {HTMLElement} root */
export function takeKeys(root) {
  makeActive(root);
  const focused = document.activeElement;
  if (focused && !root.contains(focused) && !focused.closest(WRITES)) blur(focused);
}

/**
 * Keys belong to the player that the reader touched last, unless a field or a button outside has the focus.
 * @param {KeyboardEvent} event
 * @param {HTMLElement} root
 * @param {boolean} isCard
 */
export function listensTo(event, root, isCard) {
  const [origin] = event.composedPath();
  const target = origin instanceof Element ? origin : null;
  if (target && root.contains(target)) return !(target.tagName === "SELECT" || (target.tagName === "BUTTON" && event.key === " "));
  const remote = REMOTE.includes(event.key) && !target?.closest("input, textarea, select, [contenteditable]");
  const nobody = target === document.body || target === document.documentElement;
  const free = remote || nobody || !target?.closest(TAKES_KEYS);
  return free && !isCard && active.root === root && root.isConnected;
}

/**
 * What a key asks for; null for a key that means nothing here.
 * @param {string} key
 * @param {number} step
 * @param {{steps: number, stops: number[]}} scene
 * @returns {Meaning | null}
 */
export function meaningOf(key, step, scene) {
  switch (key.length === 1 ? key.toLowerCase() : key) {
    case "Home": return 0;
    case "End": return scene.steps - 1;
    case "ArrowLeft":
    case "PageUp": return step - 1;
    case "ArrowRight":
    case "PageDown": return step + 1;
    case "ArrowUp": return stopBefore(scene.stops, step);
    case "ArrowDown": return stopAfter(scene.stops, step, scene.steps - 1);
    case " ": return "play";
    case "s": return "picture";
    case "f": return "screen";
    case "c": return "code";
    default: return null;
  }
}
