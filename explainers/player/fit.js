// How large each panel is drawn: the picture takes the whole room that the page gives to it, and no more.

import { find } from "./elements.js";

/** @import { MountedPanel, Player } from "./types.d.ts" */
/** @typedef {{natural: number, least: number, most: number}} Want the heights in px that a panel would like, needs, and can use */
/** @typedef {{element: HTMLElement, panels: MountedPanel[]}} Item a panel, or panels side by side */
/** @typedef {{element: HTMLElement, weight: number, items: Item[]}} Part a column of the stage */

const SMALL = 110; // px: a panel that wants less shows a few bars, which gain nothing when they grow much
const GROWTH = 1.6; // of such a panel
const SHRINKS = 0.35; // of the height that a panel would like
const LEAST = 48; // px
const ROUNDS = 4; // of sharing the widths: what one column leaves, others use
const FOR_A_TITLE = 220; // px
const ON_A_PHONE = 0.5; // of the window's height, for the main panels: the buttons below them stay in sight

/**
 * Gives every panel of the stage its width and height. Where the page sets a height (--stage-height), the stage fills it.
 * @param {Player} player
 */
export function fitPanels(player) {
  const { root, shown, panels } = player;
  if (!shown) return;
  const stage = find(root, ".stage");
  const columns = partsOf(stage, shown.scene.columns.map((column) => column.weight), panels);
  stage.style.removeProperty("--columns");
  const narrow = root.classList.contains("narrow");
  if (!narrow && hasHeight(root)) fillStage(stage, columns);
  else for (const [k, column] of columns.entries()) layOut(column, narrow && k === 0 ? ON_A_PHONE * window.innerHeight : Infinity, true);
  for (const panel of panels) if ("canvas" in panel && !stage.contains(panel.canvas)) place(panel, Infinity);
}

/** Whether the page says how high the stage is. @param {HTMLElement} root */
const hasHeight = (root) => !["", "auto"].includes(getComputedStyle(root).getPropertyValue("--stage-height").trim());

/** @param {HTMLElement} stage @param {number[]} weights @param {MountedPanel[]} panels @returns {Part[]} */
function partsOf(stage, weights, panels) {
  return [...stage.children].map((column, k) => ({
    element: /** @type {HTMLElement} */ (column),
    weight: weights[k],
    items: [...column.children].map((item) => ({
      element: /** @type {HTMLElement} */ (item),
      panels: panels.filter((panel) => item.contains(elementOf(panel))),
    })),
  }));
}

/** @param {MountedPanel} panel */
const elementOf = (panel) => ("canvas" in panel ? panel.canvas : panel.element);

/** Shares width and height of the stage out. @param {HTMLElement} stage @param {Part[]} columns */
function fillStage(stage, columns) {
  const gap = Number.parseFloat(getComputedStyle(stage).columnGap);
  const width = stage.clientWidth - gap * (columns.length - 1);
  /** @type {(number | null)[]} px of the columns that need less than their share */
  const settled = columns.map(() => null);
  for (let round = 0; round < ROUNDS; round++) {
    const taken = settled.reduce((/** @type {number} */ sum, part) => sum + (part ?? 0), 0);
    if (!settled.includes(null)) return;
    const open = columns.reduce((sum, column, k) => sum + (settled[k] === null ? column.weight : 0), 0);
    const widths = columns.map((column, k) => settled[k] ?? ((width - taken) * column.weight) / open);
    stage.style.setProperty("--columns", widths.map((part) => `${part}px`).join(" "));
    for (const column of columns) layOut(column, stage.clientHeight);
    const slack = columns.map((column, k) => (settled[k] === null ? widths[k] - usedWidth(column) : 0));
    const loosest = slack.indexOf(Math.max(...slack));
    if (slack[loosest] < 2) return;
    settled[loosest] = widths[loosest] - slack[loosest];
  }
}

/** The width in px that a column makes use of: all of it, unless its panels keep their cells square. @param {Part} column */
function usedWidth({ element, items }) {
  const used = items.map(({ panels }) => (panels.length === 1 && "canvas" in panels[0] ? panels[0].used?.() : undefined));
  const titles = [...element.querySelectorAll(".title b")].map((title) => /** @type {HTMLElement} */ (title).scrollWidth);
  return used.every((part) => part !== undefined) ? Math.max(...used, Math.min(FOR_A_TITLE, ...titles)) : element.clientWidth;
}

/** Lays out a column in a height in px; only: it may be lower, but does not grow. @param {Part} column @param {number} room @param {boolean} [only] */
function layOut({ element, items }, room, only = false) {
  const gap = Number.parseFloat(getComputedStyle(element).rowGap) || 0;
  const chrome = items.map(chromeOf);
  const free = room - chrome.reduce((sum, part) => sum + part, 0) - gap * (items.length - 1);
  const wants = items.map((item) => wantOf(item));
  const natural = wants.reduce((sum, want) => sum + want.natural, 0);
  if (!Number.isFinite(room) || (only && natural <= free)) {
    for (const item of items) placeItem(item, Infinity);
    return;
  }
  for (let round = 0; round < ROUNDS; round++) {
    const rooms = shareOut(wants, free);
    const heights = items.map((item, k) => placeItem(item, rooms[k]));
    const short = heights.findIndex((height, k) => height < rooms[k] - 2 && wants[k].most > height + 1);
    if (short < 0) return;
    heights.forEach((height, k) => { if (height < rooms[k] - 2) wants[k] = { ...wants[k], least: Math.min(wants[k].least, height), most: height }; });
  }
}

/**
 * Heights in px that add up to `total`, in proportion to what each would like, within its bounds.
 * @param {Want[]} wants @param {number} total
 */
export function shareOut(wants, total) {
  /** @param {number} factor */
  const rooms = (factor) => wants.map((want) => Math.max(want.least, Math.min(want.most, want.natural * factor)));
  /** @param {number} factor */
  const sum = (factor) => rooms(factor).reduce((all, room) => all + room, 0);
  let [low, high] = [0, 64];
  for (let halving = 0; halving < 40; halving++) {
    const middle = (low + high) / 2;
    if (sum(middle) <= total) low = middle;
    else high = middle;
  }
  return rooms(low).map(Math.floor);
}

/** The px of an item that are not its panels: titles. @param {Item} item */
function chromeOf({ element, panels }) {
  const flexible = panels.filter(isFlexible);
  if (!flexible.length) return element.offsetHeight;
  if (panels.length === 1) return element.offsetHeight - elementOf(panels[0]).offsetHeight;
  const side = find(element, ".side-by-side");
  const own = panels.map((panel) => (elementOf(panel).closest("figure")?.offsetHeight ?? 0) - elementOf(panel).offsetHeight);
  return element.offsetHeight - side.offsetHeight + Math.max(...own);
}

/** Whether a panel can be of another height: words take what they need. @param {MountedPanel} panel */
const isFlexible = (panel) => "canvas" in panel || panel.resize !== undefined;

/** @param {Item} item @returns {Want} */
function wantOf({ panels }) {
  const flexible = panels.filter(isFlexible);
  if (!flexible.length) return { natural: 0, least: 0, most: 0 };
  const natural = Math.max(...flexible.map((panel) => ("canvas" in panel ? panel.layout(widthOf(panel), Infinity) : panel.spec.height || LEAST)));
  return { natural, least: Math.min(natural, Math.max(LEAST, SHRINKS * natural)), most: natural < SMALL ? GROWTH * natural : Infinity };
}

/** @param {MountedPanel} panel */
const widthOf = (panel) => elementOf(panel).parentElement?.clientWidth ?? 0;

/** The height in px that the panels of an item take of a room. @param {Item} item @param {number} room */
const placeItem = ({ panels }, room) => Math.max(0, ...panels.map((panel) => place(panel, room)));

/** @param {MountedPanel} panel @param {number} room */
function place(panel, room) {
  if (!("canvas" in panel)) return panel.resize?.(room) ?? 0;
  panel.width = widthOf(panel);
  panel.height = panel.layout(panel.width, room);
  panel.canvas.style.height = `${panel.height}px`;
  return panel.height;
}
