// The picture of a scene: its panels in columns and rows, and what a pointer on them does.

import { make } from "./elements.js";
import { panelKinds } from "./panels.js";

const MOST_PAINTED = 256; // cells that one drag changes

/**
 * Builds columns of panels, and adds the panels to `player.panels`.
 * @param {any[]} columns
 * @param {string} name the class of the element
 * @param {any} player
 * @returns {HTMLElement}
 */
export function columnsElement(columns, name, player) {
  const stage = make("div", { class: name });
  stage.style.setProperty("--columns", columns.map((column) => `minmax(0, ${column.weight}fr)`).join(" "));
  for (const column of columns) {
    const items = column.panels.map((item) => (item.panels ? rowElement(item, player) : panelElement(item, player)));
    stage.append(make("div", { class: "column" }, ...items));
  }
  return stage;
}

function rowElement(row, player) {
  const side = make("div", { class: "side-by-side" });
  row.panels.forEach((spec, k) => {
    const figure = panelElement(spec, player);
    figure.style.flexGrow = row.weights[k] ?? 1;
    side.append(figure);
  });
  return make("div", { class: row.title ? "titled" : "" }, ...titleElements(row), side);
}

const titleElements = ({ title, subtitle }) => (title ? [make("div", { class: "title" }, make("b", {}, title), make("small", {}, subtitle))] : []);

function panelElement(spec, player) {
  const panel = panelKinds[spec.kind](spec, player.tools);
  const figure = make("figure", { class: `panel ${spec.kind}`, "data-panel": spec.name });
  panel.spec = spec;
  figure.append(...titleElements(spec), panel.element ?? canvasElement(panel, player));
  player.panels.push(panel);
  return figure;
}

function canvasElement(panel, player) {
  const { spec } = panel;
  const canvas = make("canvas", { role: "img" });
  panel.canvas = canvas;
  canvas.addEventListener("pointermove", (event) => showHit(panel, event, player));
  canvas.addEventListener("pointerleave", player.tip.hide);
  canvas.classList.toggle("clickable", Boolean(spec.action || spec.told));
  if (spec.action && spec.paint) paintOn(panel, player);
  else if (spec.action) canvas.addEventListener("click", (event) => player.send(panel, hitAt(panel, event, player)?.index));
  if (spec.told) canvas.addEventListener("click", (event) => openTold(panel, event, player));
  return canvas;
}

/** Where an event is on a panel, in the panel's own pixels. */
function placeOn(panel, event, player) {
  const box = panel.canvas.getBoundingClientRect();
  return [(event.clientX - box.left) / player.zoom, (event.clientY - box.top) / player.zoom];
}

function hitAt(panel, event, player) {
  const { step, previous } = player.playback;
  return panel.hit(...placeOn(panel, event, player), { step, previous, mix: 1 });
}

function showHit(panel, event, player) {
  const hit = hitAt(panel, event, player);
  const { paints } = player.options;
  if (!hit || (paints && panel.spec.paint)) return player.tip.hide(); // it would lie on the cells to paint
  const hint = panel.spec.told && !paints ? ". click for its arithmetic" : panel.spec.action ? `. ${panel.spec.action.hint}` : "";
  player.tip.show(hit.text + hint, { left: event.clientX, bottom: event.clientY + 14 });
}

/** A click that does not paint goes to the step whose words are about its cell. */
function openTold(panel, event, player) {
  if (player.options.paints) return;
  const found = panel.stepOf(panel.cellAt(...placeOn(panel, event, player)), player.playback.step, player.scene.steps);
  if (found < 0) return;
  player.pause();
  player.go(found);
}

/** A drag over cells is one event when it ends, with all the cells that it crossed; a click is a drag of one cell. */
function paintOn(panel, player) {
  const { canvas } = panel;
  const cross = (event) => {
    const cell = panel.cellAt(...placeOn(panel, event, player));
    if (cell >= 0 && panel.painting.size < MOST_PAINTED) panel.painting.add(cell);
    player.wake();
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button > 0 || !player.options.paints) return;
    panel.painting = new Set();
    canvas.setPointerCapture(event.pointerId);
    cross(event);
  });
  canvas.addEventListener("pointermove", (event) => { if (panel.painting) cross(event); });
  canvas.addEventListener("pointercancel", () => {
    panel.painting = null;
    player.wake();
  });
  canvas.addEventListener("pointerup", () => {
    const cells = [...(panel.painting ?? [])];
    panel.painting = null;
    player.send(panel, cells);
  });
}
