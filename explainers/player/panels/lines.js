// Curves that grow with the steps (scene.Lines).

import { reader } from "../data.js";
import { axisScale, isClear, legibleTicks, LETTER_WIDTH, roomForTicks, tickHeight, tickWidth, tint, write } from "../drawing.js";
import { formatNumber } from "../numbers.js";
import { registerPanel } from "../panels.js";

/** @import { Area, Context, Line, Theme } from "../types.d.ts" */

const FARTHEST = 1e5; // px: a canvas draws no line to much farther
const LEGEND_ROW = 18; // px
const EDGE = 1; // px by which lines may reach over the frame

registerPanel("lines", (spec) => {
  const shown = reader(spec.shown);
  let box = { x: 0, y: 0, width: 1, height: 1, total: 1 };
  let [across, up] = [axisScale(spec.x, 0, 1), axisScale(spec.y, 0, 1)];
  const exact = spec.y.log ? ".3e" : ".4g"; // the format of the hover

  /** @param {number} width @param {number} room */
  function place(width, room) {
    const total = Math.round(Number.isFinite(room) ? room : spec.height || 150);
    const left = roomForTicks(spec.y, 40);
    const below = spec.x.ticks.length || spec.x.label ? 20 : 0;
    const top = LEGEND_ROW * legendRows(width - left - 1);
    box = { x: left, y: top, width: width - left - 1, height: total - below - top - 1, total };
    across = axisScale(spec.x, box.x + 8, box.x + box.width - 8);
    up = axisScale(spec.y, box.y + box.height - 6, box.y + 6);
  }

  // What lies outside the frame is cut off, not moved to its edge; an error of zero rests on the end of a log axis.
  /** @param {number} value */
  function height(value) {
    const y = up(spec.y.log && value <= 0 ? spec.y.low : value);
    return Math.max(-FARTHEST, Math.min(FARTHEST, y));
  }

  /** @param {Context} context @param {() => void} paint */
  function withinFrame(context, paint) {
    context.save();
    context.beginPath();
    context.rect(box.x - EDGE, box.y - EDGE, box.width + 2 * EDGE, box.height + 2 * EDGE);
    context.clip();
    paint();
    context.restore();
  }

  /** @param {Context} context @param {Theme} theme @param {Line} line @param {number} count */
  function drawLine(context, theme, line, count) {
    const [xs, ys] = [line.x.data, line.y.data];
    context.strokeStyle = theme.hues[line.hue];
    context.lineWidth = 1.8;
    context.setLineDash(line.dashed ? [4, 3] : []);
    context.beginPath();
    let drawing = false;
    for (let k = 0; k < count; k++) {
      if (Number.isNaN(ys[k])) {
        drawing = false;
        continue;
      }
      if (drawing) context.lineTo(across(xs[k]), height(ys[k]));
      else context.moveTo(across(xs[k]), height(ys[k]));
      drawing = true;
    }
    context.stroke();
    context.setLineDash([]);
    if (!line.dashed) drawDots(context, theme, line, count);
  }

  /**
   * What lies between two curves, up to the first place where either has no number.
   * @param {Context} context @param {Theme} theme @param {Area} area @param {number} count
   */
  function drawArea(context, theme, area, count) {
    let end = 0;
    while (end < count && !Number.isNaN(area.low.data[end])) end++;
    if (end < 2) return;
    context.fillStyle = tint(theme, area.hue, 0.22);
    context.beginPath();
    for (let k = 0; k < end; k++) context.lineTo(across(area.x.data[k]), height(area.low.data[k]));
    for (let k = end - 1; k >= 0; k--) context.lineTo(across(area.x.data[k]), height(area.high.data[k]));
    context.fill();
  }

  /** @param {Context} context @param {Theme} theme */
  function drawAhead(context, theme) {
    context.globalAlpha = 0.3;
    for (const area of spec.areas) drawArea(context, theme, area, area.x.data.length);
    for (const line of spec.lines) if (!line.dashed) drawLine(context, theme, line, line.x.data.length);
    context.globalAlpha = 1;
  }

  /** @param {Context} context @param {Theme} theme @param {Line} line @param {number} count */
  function drawDots(context, theme, line, count) {
    const [xs, ys] = [line.x.data, line.y.data];
    context.fillStyle = theme.hues[line.hue];
    const radius = xs.length > 80 ? 0 : 2.6;
    for (let k = 0; k < count; k++) {
      if (Number.isNaN(ys[k])) continue;
      const last = k === count - 1;
      context.beginPath();
      context.arc(across(xs[k]), height(ys[k]), last ? 4.5 : radius, 0, 2 * Math.PI);
      context.fill();
    }
  }

  /** @param {Context} context @param {Theme} theme */
  function drawFrame(context, theme) {
    context.fillStyle = theme.frame;
    context.beginPath();
    context.roundRect(box.x, box.y, box.width, box.height, 4);
    context.fill();
    for (const { at, text } of legibleTicks(spec.y, up, tickHeight)) {
      context.strokeStyle = theme.line;
      context.lineWidth = 1;
      context.beginPath();
      context.moveTo(box.x, at);
      context.lineTo(box.x + box.width, at);
      context.stroke();
      write(context, theme, text, box.x - 5, at, { align: "right" });
    }
    for (const { at, text } of legibleTicks(spec.x, across, tickWidth)) {
      if (!isClear(spec.x.label, text, box.x + box.width - at)) continue;
      write(context, theme, text, at, box.y + box.height + 11, { align: "center" });
    }
    if (spec.x.label) write(context, theme, spec.x.label, box.x + box.width, box.y + box.height + 11, { align: "right" });
  }

  /** Where something else begins to hold. @param {Context} context @param {Theme} theme */
  function drawMarks(context, theme) {
    context.strokeStyle = theme.muted;
    context.lineWidth = 1;
    context.setLineDash([3, 3]);
    for (const x of spec.marks.filter((one) => one >= spec.x.low && one <= spec.x.high)) {
      context.beginPath();
      context.moveTo(across(x), box.y);
      context.lineTo(across(x), box.y + box.height);
      context.stroke();
    }
    context.setLineDash([]);
  }

  /** @param {Context} context @param {Theme} theme */
  function drawLegend(context, theme) {
    for (const { line, x, row } of legendPlaces(box.width)) {
      const y = 8 + LEGEND_ROW * row;
      context.fillStyle = theme.hues[line.hue];
      if (line.dashed) for (const at of [0, 7]) context.fillRect(box.x + x + at, y - 1.5, 5, 2.5);
      else context.fillRect(box.x + x, y - 1.5, 12, 2.5);
      write(context, theme, line.label, box.x + x + 16, y);
    }
  }

  /** Where each label of the legend stands at this width. @param {number} width */
  function legendPlaces(width) {
    let [x, row] = [0, 0];
    return spec.lines.filter((line) => line.label).map((line) => {
      const wide = 16 + LETTER_WIDTH * line.label.length;
      if (x > 0 && x + wide > width) [x, row] = [0, row + 1];
      const place = { line, x, row };
      x += wide + 14;
      return place;
    });
  }

  /** @param {number} width */
  const legendRows = (width) => Math.max(0, ...legendPlaces(width).map(({ row }) => row + 1));

  /** @param {Line} line @param {number} step */
  const countAt = (line, step) => (shown ? Math.min(shown(step)[0], line.x.data.length) : line.x.data.length);

  return {
    layout(width, room) {
      place(width, room);
      return box.total;
    },
    draw(context, theme, state) {
      drawFrame(context, theme);
      drawLegend(context, theme);
      drawMarks(context, theme);
      withinFrame(context, () => {
        if (spec.ahead) drawAhead(context, theme);
        for (const area of spec.areas) drawArea(context, theme, area, shown ? Math.min(shown(state.step)[0], area.x.data.length) : area.x.data.length);
        for (const line of spec.lines) drawLine(context, theme, line, line.dashed ? line.x.data.length : countAt(line, state.step));
      });
    },
    hit(x, y, state) {
      let best = null;
      for (const line of spec.lines) {
        for (let k = 0; k < countAt(line, state.step); k++) {
          const away = Math.hypot(x - across(line.x.data[k]), y - height(line.y.data[k]));
          if (away < 14 && (!best || away < best.away)) best = { away, line, k };
        }
      }
      if (!best) return null;
      const { line, k } = best;
      const where = `${spec.x.label || "x"} ${formatNumber(line.x.data[k], ".6g")}`;
      return { text: `${where}: ${formatNumber(line.y.data[k], exact)}${line.label ? ` (${line.label})` : ""}`, index: [k] };
    },
    describe(state) {
      const line = spec.lines[0];
      const last = line?.y.data[countAt(line, state.step) - 1];
      return last === undefined ? spec.title : `${spec.title}: ${formatNumber(last, exact)}`;
    },
  };
});
