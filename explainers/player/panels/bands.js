// Quantities stacked over the steps (scene.Bands): what has been is drawn full, what comes is drawn faint.

import { hatch, LETTER, LETTER_WIDTH, tint, write } from "../drawing.js";
import { formatNumber } from "../numbers.js";
import { registerPanel } from "../panels.js";

/** @import { Context, Theme } from "../types.d.ts" */

const LEGEND_ROW = 18; // px

registerPanel("bands", (spec) => {
  const [bands, steps] = spec.values.shape;
  const values = spec.values.data;
  /** @param {number} band @param {number} step */
  const at = (band, step) => values[band * steps + step];
  const tops = stacked();
  const top = spec.highest || 1.12 * Math.max(...tops.subarray((bands - 1) * steps), ...spec.lines.flatMap((line) => Array.from(line.y.data)), 1e-9);
  let box = { x: 0, y: 0, width: 1, height: 1, total: 1 };

  /** (bands, steps): the upper edge of every band. */
  function stacked() {
    const sums = new Float64Array(bands * steps);
    for (let band = 0; band < bands; band++) {
      for (let step = 0; step < steps; step++) sums[band * steps + step] = at(band, step) + (band ? sums[(band - 1) * steps + step] : 0);
    }
    return sums;
  }

  /** @param {number} step */
  const across = (step) => box.x + (steps < 2 ? 0.5 : step / (steps - 1)) * box.width;
  /** @param {number} value */
  const up = (value) => box.y + box.height * (1 - value / top);
  /** @param {number} x */
  const stepAt = (x) => Math.max(0, Math.min(steps - 1, Math.round(((x - box.x) / box.width) * (steps - 1))));
  /** @param {number} step */
  const total = (step) => tops[(bands - 1) * steps + step];

  /** @param {Context} context @param {number} band @param {number} from @param {number} to */
  function outline(context, band, from, to) {
    /** @param {number} step */
    const below = (step) => (band ? tops[(band - 1) * steps + step] : 0);
    context.beginPath();
    context.moveTo(across(from), up(below(from)));
    for (let step = from; step <= to; step++) context.lineTo(across(step), up(tops[band * steps + step]));
    for (let step = to; step >= from; step--) context.lineTo(across(step), up(below(step)));
    context.closePath();
  }

  /** @param {Context} context @param {Theme} theme @param {number} band @param {number} from @param {number} to @param {boolean} faint */
  function drawBand(context, theme, band, from, to, faint) {
    if (to <= from) return;
    const hue = spec.hues[band];
    outline(context, band, from, to);
    if (spec.styles[band] === "hatched" || spec.styles[band] === "hollow") {
      context.fillStyle = tint(theme, hue, faint ? 0.06 : 0.14);
      context.fill();
      if (spec.styles[band] === "hatched") {
        context.save();
        context.clip();
        hatch(context, across(from), box.y, across(to) - across(from), box.height, faint ? tint(theme, hue, 0.35) : theme.hues[hue]);
        context.restore();
        outline(context, band, from, to); // hatching has drawn another path
      }
      context.strokeStyle = faint ? tint(theme, hue, 0.35) : theme.hues[hue];
      context.lineWidth = 1;
      context.stroke();
      return;
    }
    context.fillStyle = faint ? tint(theme, hue, 0.28) : theme.hues[hue];
    context.fill();
  }

  /** @param {Context} context @param {Theme} theme */
  function drawLegend(context, theme) {
    let [x, y] = [box.x, 8];
    spec.names.forEach((name, band) => {
      context.font = `400 ${LETTER}px ${theme.font}`;
      const wide = 20 + context.measureText(name).width + 12;
      if (x + wide > box.x + box.width && x > box.x) [x, y] = [box.x, y + LEGEND_ROW];
      context.fillStyle = theme.hues[spec.hues[band]];
      context.strokeStyle = theme.hues[spec.hues[band]];
      context.lineWidth = 1;
      if (!spec.styles[band] || spec.styles[band] === "solid") context.fillRect(x, y - 5, 14, 10);
      else context.strokeRect(x + 0.5, y - 4.5, 13, 9);
      if (spec.styles[band] === "hatched") hatch(context, x, y - 5, 14, 10, theme.hues[spec.hues[band]]);
      write(context, theme, name, x + 19, y);
      x += wide;
    });
  }

  /** Rows that the legend needs at this width. @param {number} width */
  function legendRows(width) {
    let [rows, x] = [1, 0];
    for (const name of spec.names) {
      const wide = 32 + LETTER_WIDTH * name.length;
      if (x + wide > width && x > 0) [rows, x] = [rows + 1, 0];
      x += wide;
    }
    return rows;
  }

  /** @param {Context} context @param {Theme} theme */
  function drawLines(context, theme) {
    for (const line of spec.lines) {
      context.strokeStyle = theme.hues[line.hue];
      context.lineWidth = 1.8;
      context.setLineDash(line.dashed ? [5, 3] : []);
      context.beginPath();
      for (const [k, step] of line.x.data.entries()) context[k ? "lineTo" : "moveTo"](across(step), up(line.y.data[k]));
      context.stroke();
      context.setLineDash([]);
      if (!line.label || !line.x.data.length) continue;
      write(context, theme, line.label, box.x + 6, up(line.y.data[0]) - 8, { colour: theme.inks[line.hue], weight: 600 });
    }
  }

  /** On which side of the current step's line its sum is written; the marked step's label stands on the other. @param {number} step */
  const currentOnRight = (step) => (step === spec.marked || spec.marked < 0 ? across(step) < box.x + box.width * 0.75 : spec.marked < step);

  /** @param {Context} context @param {Theme} theme @param {number} current */
  function drawMark(context, theme, current) {
    if (spec.marked < 0) return;
    const [x, y] = [across(spec.marked), up(total(spec.marked))];
    context.fillStyle = theme.text;
    context.beginPath();
    context.arc(x, y, 3.5, 0, 2 * Math.PI);
    context.fill();
    if (current === spec.marked) return;
    const near = Math.abs(x - across(current)) < 90;
    const right = near ? spec.marked > current : x < box.x + box.width / 2;
    write(context, theme, `peak ${formatNumber(total(spec.marked), spec.format)}`, x + (right ? 7 : -7), y - 9, {
      colour: theme.text, weight: 600, align: right ? "left" : "right",
    });
  }

  return {
    layout(width, room) {
      const top = 8 + LEGEND_ROW * legendRows(width - 2);
      const tall = Math.round(Number.isFinite(room) ? room - top : spec.height || 220);
      const below = spec.step_label ? 20 : 2;
      box = { x: 1, y: top, width: width - 2, height: tall - below, total: top + tall };
      return box.total;
    },
    draw(context, theme, state) {
      context.fillStyle = theme.frame;
      context.fillRect(box.x, box.y, box.width, box.height);
      for (let band = 0; band < bands; band++) {
        drawBand(context, theme, band, state.step, steps - 1, true);
        drawBand(context, theme, band, 0, state.step, false);
      }
      drawLines(context, theme);
      drawMark(context, theme, state.step);
      const x = across(state.step);
      context.strokeStyle = theme.hues.current;
      context.lineWidth = 1.5;
      context.beginPath();
      context.moveTo(x, box.y);
      context.lineTo(x, box.y + box.height);
      context.stroke();
      const near = spec.marked >= 0 && Math.abs(across(spec.marked) - x) < 90;
      const right = near ? !currentOnRight(state.step) : x > box.x + box.width * 0.75;
      const words = `${state.step === spec.marked ? "peak " : ""}${formatNumber(total(state.step), spec.format)}`;
      write(context, theme, words, x + (right ? -6 : 6), box.y + 9, {
        colour: theme.inks.current, weight: 700, align: right ? "right" : "left",
      });
      drawLegend(context, theme);
      if (spec.step_label) write(context, theme, spec.step_label, box.x + box.width, box.y + box.height + 11, { align: "right" });
    },
    hit(x, y) {
      if (x < box.x || x > box.x + box.width || y < box.y || y > box.y + box.height) return null;
      const step = stepAt(x);
      const parts = spec.names.map((name, band) => `${name} ${formatNumber(at(band, step), spec.format)}`);
      return { text: `step ${step + 1}: ${formatNumber(total(step), spec.format)} = ${parts.filter((_, band) => at(band, step) > 0).join(" + ") || "nothing"}`, index: [step] };
    },
    describe: (state) => `${spec.title}: ${formatNumber(total(state.step), spec.format)}`,
  };
});
