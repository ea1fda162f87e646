// The picture of a scene: its panels in columns and rows, and what a pointer on them does.

import { make } from "./elements.js";
import { createPanel } from "./panels.js";

/** @import { CanvasDrawing, CanvasPanel, CellsAsked, Column, Player, Point, Row, Scene, Spec, Tools } from "./types.d.ts" */

const MOST_PAINTED = 256; // cells that one drag changes

/**
 * Builds columns of panels, and adds the panels to `player.panels`.
 * @param {Column[]} columns
 * @param {string} name the class of the element
 * @param {Player} player
 * @param {Tools} tools
 */
export function columnsElement(columns, name, player, tools) {
  const stage = make("div", { class: name });
  stage.style.setProperty("--columns", columns.map((column) => `minmax(0, ${column.weight}fr)`).join(" "));
  for (const column of columns) {
    const items = column.panels.map((item) => ("panels" in item ? rowElement(item, player, tools) : panelElement(item, player, tools)));
    stage.append(make("div", { class: "column" }, ...items));
  }
  return stage;
}

/**
 * On a phone: what shows the panels beside the main ones, and the code, which are folded so that the controls are in reach.
 * @param {Scene} scene @param {Player} player
 */
export function unfoldElement({ columns, below }, player) {
  const panels = columns.slice(1).reduce((sum, column) => sum + column.panels.length, 0);
  const parts = [panels ? `${panels} more panel${panels > 1 ? "s" : ""}` : "", below.length ? "the code" : ""].filter(Boolean);
  const button = make("button", { type: "button", class: "unfold", "aria-expanded": "false" }, `Show ${parts.join(" and ")}`);
  button.hidden = !parts.length;
  button.addEventListener("click", () => {
    const unfolded = player.root.classList.toggle("unfolded");
    button.setAttribute("aria-expanded", String(unfolded));
    button.textContent = `${unfolded ? "Fold" : "Show"} ${parts.join(" and ")}`;
    player.redraw();
  });
  return button;
}

/** @param {Row} row @param {Player} player @param {Tools} tools */
function rowElement(row, player, tools) {
  const side = make("div", { class: "side-by-side" });
  row.panels.forEach((spec, k) => {
    const figure = panelElement(spec, player, tools);
    figure.style.flexGrow = String(row.weights[k] ?? 1);
    side.append(figure);
  });
  return make("div", { class: row.title ? "titled" : "" }, ...titleElements(row), side);
}

/** @param {{title: string, subtitle: string}} item */
const titleElements = ({ title, subtitle }) => (title ? [make("div", { class: "title" }, make("b", {}, title), make("small", {}, subtitle))] : []);

/** @param {Spec} spec @param {Player} player @param {Tools} tools */
function panelElement(spec, player, tools) {
  const drawing = createPanel(spec.kind, spec, tools);
  const figure = make("figure", { class: `panel ${spec.kind}`, "data-panel": spec.name });
  const panel = "element" in drawing ? Object.assign(drawing, { spec }) : canvasPanel(drawing, spec, player);
  figure.append(...titleElements(spec), "element" in panel ? panel.element : panel.canvas);
  player.panels.push(panel);
  return figure;
}

/** @param {CanvasDrawing} drawing @param {Spec} spec @param {Player} player @returns {CanvasPanel} */
function canvasPanel(drawing, spec, player) {
  const canvas = make("canvas", { role: "img" });
  const panel = Object.assign(drawing, { spec, canvas, width: 0, height: 0 });
  const { cells } = panel;
  canvas.addEventListener("pointermove", (event) => showHit(panel, event, player));
  canvas.addEventListener("pointerleave", player.tip.hide);
  canvas.classList.toggle("clickable", Boolean(spec.action || cells?.stepOf));
  if (spec.action && cells?.paint) paintOn(panel, cells, player);
  else if (spec.action) canvas.addEventListener("click", (event) => player.send(panel, hitAt(panel, event, player)?.index));
  if (cells?.stepOf) canvas.addEventListener("click", (event) => openTold(panel, cells, event, player));
  return panel;
}

/** Where an event is on a panel, in the panel's own pixels. @param {CanvasPanel} panel @param {MouseEvent} event @param {Player} player @returns {Point} */
function placeOn(panel, event, player) {
  const box = panel.canvas.getBoundingClientRect();
  return [(event.clientX - box.left) / player.zoom, (event.clientY - box.top) / player.zoom];
}

/** @param {CanvasPanel} panel @param {MouseEvent} event @param {Player} player */
function hitAt(panel, event, player) {
  const { step, previous } = player.playback;
  return panel.hit(...placeOn(panel, event, player), { step, previous, mix: 1 });
}

/** @param {CanvasPanel} panel @param {MouseEvent} event @param {Player} player */
function showHit(panel, event, player) {
  const hit = hitAt(panel, event, player);
  const paints = player.shown?.options.paints;
  if (!hit || (paints && panel.cells?.paint)) return player.tip.hide(); // it would lie on the cells to paint
  const hint = panel.cells?.stepOf && !paints ? ". click for its arithmetic" : panel.spec.action ? `. ${panel.spec.action.hint}` : "";
  player.tip.show(hit.text + hint, { left: event.clientX, bottom: event.clientY + 14 });
}

/**
 * A click that does not paint goes to the step whose words are about its cell.
 * @param {CanvasPanel} panel @param {CellsAsked} cells @param {MouseEvent} event @param {Player} player
 */
function openTold(panel, cells, event, player) {
  if (player.shown?.options.paints || !cells.stepOf) return;
  const found = cells.stepOf(cells.at(...placeOn(panel, event, player)), player.playback.step, player.playback.steps);
  if (found < 0) return;
  player.pause();
  player.go(found);
}

/**
 * A drag over cells is one event when it ends, with all the cells that it crossed; a click is a drag of one cell.
 * @param {CanvasPanel} panel @param {CellsAsked} cells @param {Player} player
 */
function paintOn(panel, cells, player) {
  const { canvas } = panel;
  /** @param {PointerEvent} event @param {Set<number>} painting */
  const cross = (event, painting) => {
    const cell = cells.at(...placeOn(panel, event, player));
    if (cell >= 0 && painting.size < MOST_PAINTED) painting.add(cell);
    player.wake();
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button > 0 || !player.shown?.options.paints) return;
    cells.painting = new Set();
    canvas.setPointerCapture(event.pointerId);
    cross(event, cells.painting);
  });
  canvas.addEventListener("pointermove", (event) => { if (cells.painting) cross(event, cells.painting); });
  canvas.addEventListener("pointercancel", () => {
    cells.painting = null;
    player.wake();
  });
  canvas.addEventListener("pointerup", () => {
    const crossed = [...(cells.painting ?? [])];
    cells.painting = null;
    player.send(panel, crossed);
  });
}
