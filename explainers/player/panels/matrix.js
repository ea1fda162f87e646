// A matrix of values as coloured cells, with tiles on it (scene.Matrix).

import { reader } from "../data.js";
import { colourTable, contextOf, css, hatch, LETTER, LETTER_WIDTH, mix, parseColour, tint, write } from "../drawing.js";
import { inkOn } from "../contrast.js";
import { formatNumber } from "../numbers.js";
import { registerPanel } from "../panels.js";

/** @import { Band, Context, NumberArray, Rectangle, State, Theme, Tiles } from "../types.d.ts" */
/** @typedef {ReturnType<typeof tilesOf>} Tiling */

const LEFT_BAND = 30; // px, the gap beside it among them
const TOP_BAND = 20;

registerPanel("matrix", (spec) => {
  const [rows, columns] = spec.shape;
  const values = reader(spec.values);
  const pinned = reader(spec.pinned);
  const outlined = reader(spec.rows);
  const limits = reader(spec.limits);
  const tiles = spec.tiles && tilesOf(spec.tiles);
  const leftBands = spec.bands.filter((band) => band.side === "left");
  const topBands = spec.bands.filter((band) => band.side === "top");
  const image = document.createElement("canvas");
  image.width = columns;
  image.height = rows;
  let painted = ""; // the theme and numbers that `image` shows
  /** @type {{theme: Theme, colours: Uint8Array} | null} the colours of the current theme */
  let table = null;
  let box = { x: 0, y: 0, width: 1, height: 1, total: 1 };

  /** @param {Theme} theme @param {NumberArray} numbers @param {number} step */
  function paintCells(theme, numbers, step) {
    const version = "data" in spec.values && !limits ? 0 : step;
    if (painted === `${theme.key} ${version}`) return;
    painted = `${theme.key} ${version}`;
    if (table?.theme !== theme) table = { theme, colours: colourTable(theme, spec.scale, spec.hue) };
    const { colours } = table;
    const context = contextOf(image);
    const pixels = context.createImageData(columns, rows);
    const [low, high] = limits ? limits(step) : [spec.low, spec.high];
    const factor = 255 / (high - low || 1);
    for (let k = 0; k < numbers.length; k++) {
      if (Number.isNaN(numbers[k])) continue;
      if (!Number.isFinite(numbers[k])) {
        pixels.data.set([...parseColour(theme.hues.bad), 255], 4 * k);
        continue;
      }
      const at = 3 * Math.max(0, Math.min(255, Math.round((numbers[k] - low) * factor)));
      pixels.data[4 * k] = colours[at];
      pixels.data[4 * k + 1] = colours[at + 1];
      pixels.data[4 * k + 2] = colours[at + 2];
      pixels.data[4 * k + 3] = 255;
    }
    context.putImageData(pixels, 0, 0);
  }

  /** @param {number} width @param {number} room */
  function place(width, room) {
    const left = leftBands.length * LEFT_BAND;
    const top = topBands.length * TOP_BAND;
    const below = pinned && spec.pinned_label ? 20 : 2;
    const high = (Number.isFinite(room) ? room - 1 : spec.height || width) - top - below;
    let [wide, tall] = [width - left - 2, high];
    if (spec.cell === "square") {
      const side = Math.min(wide / columns, tall / rows);
      [wide, tall] = [side * columns, side * rows];
    }
    box = { x: left + 1, y: top + 1, width: wide, height: tall, total: top + tall + below + 1 };
  }

  /** @param {number} column */
  const left = (column) => box.x + (Math.min(column, columns) / columns) * box.width;
  /** @param {number} row */
  const top = (row) => box.y + (Math.min(row, rows) / rows) * box.height;
  /** @param {number} row @param {number} column @param {Tiling} tiles */
  const tileBox = (tiles, row, column) => {
    const [x, y] = [left(column * tiles.width), top(row * tiles.height)];
    return [x, y, left((column + 1) * tiles.width) - x, top((row + 1) * tiles.height) - y];
  };

  /** @param {Context} context @param {Theme} theme @param {number} step @param {Tiling} tiles */
  function drawTiles(context, theme, step, tiles) {
    for (let row = 0; row < tiles.rows; row++) {
      for (let column = 0; column < tiles.columns; column++) {
        const visitedAt = tiles.visitedAt(row, column);
        const [x, y, width, height] = tileBox(tiles, row, column);
        if (visitedAt < 0 || (spec.reveal && visitedAt > step)) {
          context.fillStyle = css(theme.ground);
          context.fillRect(x, y, width, height);
        }
        if (visitedAt < 0) {
          hatch(context, x, y, width, height, theme.line);
          if (width > 52 && height > 16) write(context, theme, "skipped", x + width / 2, y + height / 2, { align: "center" });
        }
        if (width > 3) {
          context.strokeStyle = theme.line;
          context.lineWidth = 1;
          context.strokeRect(x, y, width, height);
        }
      }
    }
  }

  /** The current tile; all tiles of its row or column where only that is current; null for none. @param {Tiling} tiles @param {number} step */
  function currentBox(tiles, step) {
    const [row, column] = tiles.current(step);
    if (row < 0 && column < 0) return null;
    const [x, y, width, height] = tileBox(tiles, Math.max(row, 0), Math.max(column, 0));
    return [column < 0 ? box.x : x, row < 0 ? box.y : y, column < 0 ? box.width : width, row < 0 ? box.height : height];
  }

  /** @param {Context} context @param {Theme} theme @param {State} state @param {Tiling} tiles */
  function drawCurrentTile(context, theme, state, tiles) {
    const target = currentBox(tiles, state.step);
    if (!target) return;
    const from = currentBox(tiles, state.previous) ?? target;
    const [x, y, width, height] = mix(from, target, state.mix);
    context.strokeStyle = theme.hues.current;
    context.lineWidth = 2.5;
    context.strokeRect(x, y, width, height);
  }

  /** @param {Context} context @param {Theme} theme @param {number} step @param {Tiling} tiles */
  function drawBands(context, theme, step, tiles) {
    const [currentRow, currentColumn] = tiles.current(step);
    leftBands.forEach((band, k) => {
      for (let row = 0; row < tiles.rows; row++) {
        const [, y, , height] = tileBox(tiles, row, 0);
        drawBand(context, theme, band, row, row === currentRow, [k * LEFT_BAND, y + 1, LEFT_BAND - 5, height - 2]);
      }
    });
    topBands.forEach((band, k) => {
      for (let column = 0; column < tiles.columns; column++) {
        const [x, , width] = tileBox(tiles, 0, column);
        drawBand(context, theme, band, column, column === currentColumn, [x + 1, k * TOP_BAND, width - 2, TOP_BAND - 4]);
      }
    });
  }

  /** @param {Context} context @param {Theme} theme @param {Band} band @param {number} index @param {boolean} lit @param {Rectangle} place */
  function drawBand(context, theme, band, index, lit, [x, y, width, height]) {
    context.fillStyle = lit ? theme.hues[band.hue] : tint(theme, band.hue, 0.28);
    context.beginPath();
    context.roundRect(x, y, Math.max(1, width), Math.max(1, height), 2);
    context.fill();
    const label = `${band.label}${index}`;
    if (width < LETTER_WIDTH * label.length || height < LETTER) return;
    const colour = lit ? inkOn(parseColour(theme.hues[band.hue])) : theme.text;
    write(context, theme, label, x + width / 2, y + height / 2 + 0.5, { align: "center", weight: 600, colour });
  }

  /** @param {Context} context @param {Theme} theme @param {number} row */
  function drawPinned(context, theme, row) {
    if (!(row >= 0)) return;
    const y = top(row + 0.5);
    context.strokeStyle = theme.hues.current;
    context.setLineDash([3, 2]);
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(box.x, y);
    context.lineTo(box.x + box.width, y);
    context.stroke();
    context.setLineDash([]);
    if (spec.pinned_label) {
      write(context, theme, `${spec.pinned_label} ${row}`, box.x, box.y + box.height + 11, { colour: theme.inks.current });
    }
  }

  /** @param {number} row @param {number} column @param {number} value @param {State} state */
  function wordsOf(row, column, value, state) {
    const visitedAt = tiles ? tiles.visitedAt(Math.floor(row / tiles.height), Math.floor(column / tiles.width)) : 0;
    if (visitedAt < 0) return "skipped, never computed";
    if (spec.reveal && visitedAt > state.step) return "not computed yet";
    if (Number.isNaN(value)) return "empty";
    return Number.isFinite(value) ? formatNumber(value, ".6g") : "not a number";
  }

  return {
    layout(width, room) {
      place(width, room);
      return box.total;
    },
    used: () => box.x + box.width + 1,
    draw(context, theme, state) {
      paintCells(theme, values(state.step), state.step);
      context.imageSmoothingEnabled = false;
      context.fillStyle = css(theme.ground);
      context.fillRect(box.x, box.y, box.width, box.height);
      context.drawImage(image, box.x, box.y, box.width, box.height);
      if (tiles) drawTiles(context, theme, state.step, tiles);
      context.strokeStyle = theme.line;
      context.lineWidth = 1;
      context.strokeRect(box.x, box.y, box.width, box.height);
      if (tiles) drawBands(context, theme, state.step, tiles);
      if (pinned) drawPinned(context, theme, pinned(state.step)[0]);
      if (tiles) drawCurrentTile(context, theme, state, tiles);
      if (outlined) {
        const [first, end] = outlined(state.step);
        context.strokeStyle = theme.hues.current;
        context.lineWidth = 2;
        if (end > first) context.strokeRect(box.x, top(first), box.width, top(end) - top(first));
      }
    },
    hit(x, y, state) {
      const row = Math.floor(((y - box.y) / box.height) * rows);
      const column = Math.floor(((x - box.x) / box.width) * columns);
      if (row < 0 || column < 0 || row >= rows || column >= columns) return null;
      const value = values(state.step)[row * columns + column];
      const where = `${spec.row_name} ${row}, ${spec.column_name} ${column}`;
      return { text: `${where}: ${wordsOf(row, column, value, state)}`, index: [row, column] };
    },
    describe(state) {
      const [row, column] = tiles ? tiles.current(state.step) : [-1, -1];
      return `${spec.title}, ${rows} by ${columns}${row < 0 ? "" : `, tile ${row}, ${column}`}`;
    },
  };
});

/** @param {Tiles} tiles */
function tilesOf({ block, visited_at, current }) {
  const [rows, columns] = visited_at.shape;
  return {
    height: block[0], width: block[1], rows, columns,
    /** @param {number} row @param {number} column */
    visitedAt: (row, column) => visited_at.data[row * columns + column],
    /** @param {number} step */
    current: (step) => [current.data[2 * step], current.data[2 * step + 1]],
  };
}
