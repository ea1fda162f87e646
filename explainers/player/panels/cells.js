// A grid world seen from above (scene.Cells): action values as triangles, policy as arrows, the agent and its trail.

import { reader } from "../data.js";
import { colourTable, hatch, write, css } from "../drawing.js";
import { formatNumber } from "../numbers.js";
import { registerPanel } from "../panels.js";

const FLOOR = 0, WALL = 1, FORBIDDEN = 2, TARGET = 3;
const AGENT = "#F2C200";
const SMALLEST = 7; // px of a number that is drawn
const VERMILION = { light: "#D55E00", dark: "#FF8A4C" }; // forbidden, in every theme

registerPanel("cells", (spec) => {
  const [rows, columns] = spec.shape;
  const count = rows * columns;
  const actions = spec.directions.length;
  const kinds = reader(spec.kinds), values = reader(spec.values), q = reader(spec.q), policy = reader(spec.policy);
  const epsilon = reader(spec.epsilon), agent = reader(spec.agent), flash = reader(spec.flash), told = reader(spec.told);
  const start = typeof spec.start === "number" ? () => [spec.start] : reader(spec.start);
  const limit = typeof spec.limit === "number" ? () => [spec.limit] : reader(spec.limit);
  const sectors = spec.directions.map(([down, right], action) => sectorOf(down, right, action));
  const ground = document.createElement("canvas"); // all cells, drawn when they change
  const drawn = { key: "", q: null, values: null, policy: null, kinds: null };
  let letters = { size: 0, decimals: 0 }; // of the numbers in triangles
  let box = { x: 0, y: 0, side: 1, total: 1 };

  // ------------------------------------------------------------------------------------------------ places

  function place(width) {
    const below = 24 + (spec.wind.some(Boolean) ? 18 : 0);
    const side = Math.max(2, Math.floor(Math.min((width - 4) / columns, ((spec.height || 440) - below) / rows, 120)));
    box = { x: 2, y: 2, side, width, total: side * rows + 4 + below };
  }

  const centre = (cell) => [box.x + (cell % columns + 0.5) * box.side, box.y + (Math.floor(cell / columns) + 0.5) * box.side];

  /** The part of the unit square (corners at ±1) that belongs to an action: a polygon, and the middle for its number. */
  function sectorOf(down, right, action) {
    if (!down && !right) return null;
    const moving = spec.directions.filter(([d, r]) => d || r).length;
    const half = Math.PI / Math.max(2, moving);
    const angle = Math.atan2(down, right);
    const corners = [-3, -1, 1, 3, 5].map((k) => (k * Math.PI) / 4).filter((at) => at > angle - half + 1e-9 && at < angle + half - 1e-9);
    const rim = (at) => {
      const [x, y] = [Math.cos(at), Math.sin(at)];
      const far = Math.max(Math.abs(x), Math.abs(y));
      return [x / far, y / far];
    };
    const polygon = [[0, 0], ...[angle - half, ...corners, angle + half].map(rim)];
    const [x, y] = rim(angle);
    return { polygon, middle: [0.72 * x, 0.76 * y], unit: [Math.cos(angle), Math.sin(angle)], action };
  }

  // ------------------------------------------------------------------------------------------ what is believed

  function bestOf(numbers, cell) {
    let best = -Infinity;
    for (let a = 0; a < actions; a++) best = Math.max(best, numbers[cell * actions + a]);
    return best;
  }

  /** The probability of each action: as given, or epsilon-greedy in q. */
  function chances(step, cell) {
    if (policy) return policy(step).subarray(cell * actions, (cell + 1) * actions);
    if (!epsilon || !q) return null;
    const numbers = q(step), best = bestOf(numbers, cell), explore = epsilon(step)[0];
    const equal = Array.from({ length: actions }, (_, a) => numbers[cell * actions + a] === best);
    const first = equal.indexOf(true);
    const greedy = spec.first_best ? equal.map((_, a) => a === first) : equal;
    const many = greedy.filter(Boolean).length || 1;
    return greedy.map((one) => explore / actions + (one ? (1 - explore) / many : 0));
  }

  // ----------------------------------------------------------------------------------------------- the cells

  /** Draws the cells whose numbers differ from those last drawn. */
  function paintGround(context, theme, step) {
    const density = context.getTransform().a;
    const now = { q: q?.(step), values: values?.(step), policy: policy?.(step), kinds: kinds(step) };
    const scale = limit(step)[0] || 1;
    if (now.q) {
      widenRange(now.q);
      letters = lettering();
    }
    const key = `${theme.key} ${density} ${box.side} ${scale} ${start(step)[0]} ${epsilon ? epsilon(step)[0] : ""} ${letters.size} ${letters.decimals}`;
    const all = key !== drawn.key;
    if (all) {
      ground.width = Math.ceil((columns * box.side + 4) * density);
      ground.height = Math.ceil((rows * box.side + 4) * density);
      drawn.key = key;
      drawn.colours = colourTable(theme, "diverging", "output");
    }
    const on = ground.getContext("2d");
    on.setTransform(density, 0, 0, density, 0, 0);
    for (let cell = 0; cell < count; cell++) {
      if (all || changed(now.q, drawn.q, cell, actions) || changed(now.values, drawn.values, cell, 1) || changed(now.policy, drawn.policy, cell, actions) || changed(now.kinds, drawn.kinds, cell, 1)) {
        drawCell(on, theme, step, cell, now, scale);
      }
    }
    for (const name of ["q", "values", "policy", "kinds"]) drawn[name] = now[name]?.slice() ?? null;
  }

  function changed(now, before, cell, width) {
    if (!now) return false;
    for (let k = cell * width; k < (cell + 1) * width; k++) {
      if (now[k] !== before?.[k] && !(Number.isNaN(now[k]) && Number.isNaN(before?.[k]))) return true;
    }
    return false;
  }

  function colourAt(value, scale) {
    const at = 3 * Math.max(0, Math.min(255, Math.round(127.5 * (1 + value / scale))));
    return [drawn.colours[at], drawn.colours[at + 1], drawn.colours[at + 2]];
  }

  /** Ink that can be read on a colour. */
  const inkOn = (colour, strong) => {
    const light = colour[0] * 0.3 + colour[1] * 0.59 + colour[2] * 0.11 > 140;
    return light ? (strong ? "#10131a" : "#3c4457") : (strong ? "#ffffff" : "#dfe4ee");
  };

  function drawCell(context, theme, step, cell, now, scale) {
    const [x, y] = centre(cell);
    const side = box.side, kind = now.kinds[cell];
    context.fillStyle = css(theme.ground);
    context.fillRect(x - side / 2, y - side / 2, side, side);
    if (kind === WALL) {
      context.fillStyle = theme.line;
      context.fillRect(x - side / 2, y - side / 2, side, side);
      hatch(context, x - side / 2, y - side / 2, side, side, theme.muted);
    } else if (now.q && !Number.isNaN(now.q[cell * actions])) drawTriangles(context, theme, cell, now.q, scale, x, y);
    else if (now.values && !Number.isNaN(now.values[cell])) drawValue(context, theme, now.values[cell], scale, x, y);
    context.strokeStyle = theme.line;
    context.lineWidth = 1;
    context.strokeRect(x - side / 2, y - side / 2, side, side);
    if (kind === FORBIDDEN || kind === TARGET) outline(context, theme, kind, x, y);
    if (kind !== WALL) drawPolicy(context, theme, step, cell, x, y, Boolean(now.q));
    if (cell === start(step)[0] && side >= (now.values ? 40 : 14)) write(context, theme, "S", x - side / 2 + 4, y - side / 2 + 8, { size: Math.min(11, side / 3), weight: 700, colour: theme.text });
  }

  function outline(context, theme, kind, x, y) {
    const width = Math.max(1.5, Math.min(3, box.side / 22)), inset = width / 2 + 1;
    context.strokeStyle = kind === TARGET ? theme.hues.good : VERMILION[theme.dark ? "dark" : "light"];
    context.lineWidth = width;
    if (kind === FORBIDDEN) context.setLineDash([2.2 * width, 1.4 * width]);
    context.strokeRect(x - box.side / 2 + inset, y - box.side / 2 + inset, box.side - 2 * inset, box.side - 2 * inset);
    context.setLineDash([]);
  }

  const numberOf = (value, decimals = spec.decimals) => formatNumber(value, `.${Math.abs(value) >= 100 ? 0 : decimals}f`);

  // Radius, in sides, of the disc of staying, which holds the policy or its number; without staying the policy's own.
  const disc = !sectors.includes(null) ? 0.155 : epsilon || policy ? 0.2 : 0.17;

  const range = [0, 0]; // of all numbers seen in the triangles

  function widenRange(numbers) {
    for (const number of numbers) {
      if (number < range[0]) range[0] = number;
      else if (number > range[1]) range[1] = number;
    }
  }

  /** Size and decimals of the numbers in the triangles: of all cells alike, so that the longest number so far fits. */
  function lettering() {
    const full = sectors.includes(null) || epsilon || policy; // a disc takes the middle: less is left for the numbers
    const room = full ? (0.5 - disc) * box.side - 8 : 0.36 * box.side;
    for (let decimals = spec.decimals; ; decimals--) {
      const widest = range.flatMap((number) => [number, Math.max(-99, Math.min(99, number))]); // from 100 on without decimals
      const longest = Math.max(...widest.map((number) => numberOf(number, decimals).length));
      const size = Math.min(11, box.side / (actions > 5 ? 8.5 : 7.2), room / (0.6 * longest));
      if (size >= SMALLEST || decimals === 0) return { size, decimals };
    }
  }

  function drawTriangles(context, theme, cell, numbers, scale, x, y) {
    const half = box.side / 2, best = bestOf(numbers, cell);
    const { size, decimals } = letters;
    const isBest = (value) => numberOf(value, decimals) === numberOf(best, decimals); // what reads the same looks the same
    for (const sector of sectors.filter(Boolean)) {
      const value = numbers[cell * actions + sector.action], colour = colourAt(value, scale);
      context.beginPath();
      sector.polygon.forEach(([right, down], k) => context[k ? "lineTo" : "moveTo"](x + right * half, y + down * half));
      context.closePath();
      context.fillStyle = css(colour);
      context.fill();
      context.strokeStyle = css(theme.ground);
      context.lineWidth = 0.7;
      context.stroke();
      if (size < SMALLEST) continue;
      const [right, down] = sector.middle, strong = isBest(value);
      const sideways = Math.abs(down) < 0.01; // such numbers keep to the edge of their cell
      const align = sideways ? (right > 0 ? "right" : "left") : "center";
      const at = sideways ? Math.sign(right) * (half - 6) : right * half;
      write(context, theme, numberOf(value, decimals), x + at, y + down * half, { align, size, weight: strong ? 700 : 400, colour: inkOn(colour, strong) });
    }
    const stay = sectors.indexOf(null);
    if (stay < 0 || box.side < 12) return;
    context.beginPath();
    context.arc(x, y, disc * box.side, 0, 2 * Math.PI);
    const value = numbers[cell * actions + stay], colour = colourAt(value, scale);
    context.fillStyle = css(colour);
    context.fill();
    context.strokeStyle = css(theme.ground);
    context.stroke();
    if (epsilon || policy || size < SMALLEST) return; // the policy is drawn there
    write(context, theme, numberOf(value, decimals), x, y, { align: "center", size, weight: isBest(value) ? 700 : 400, colour: inkOn(colour, isBest(value)) });
  }

  function drawValue(context, theme, value, scale, x, y) {
    const colour = colourAt(value, scale), half = box.side / 2;
    context.fillStyle = css(colour);
    context.fillRect(x - half, y - half, box.side, box.side);
    const text = numberOf(value), size = Math.min(14, box.side / 3.4, (1.4 * box.side) / text.length);
    const arrows = policy || epsilon;
    if (size >= 7) write(context, theme, text, x, y + (arrows ? 0.32 * box.side : 0), { align: "center", size, weight: 600, colour: inkOn(colour, true) });
  }

  /** Arrows from the middle, as long as their action is probable; a ring for staying. */
  function drawPolicy(context, theme, step, cell, x, y, onTriangles) {
    const likely = chances(step, cell);
    if (!likely || Number.isNaN(likely[0]) || (q && Number.isNaN(q(step)[cell * actions])) || !likely.some((one) => one > 0) || box.side < 9) return;
    const head = 0.05 * box.side;
    const reach = onTriangles ? disc * box.side - head : 0.24 * box.side; // a number begins where the disc ends
    const lift = onTriangles || !values ? 0 : 0.13 * box.side; // the number stands below
    if (onTriangles && box.side >= 30) {
      context.beginPath();
      context.arc(x, y, disc * box.side, 0, 2 * Math.PI);
      context.fillStyle = css(theme.ground);
      context.fill();
    }
    likely.forEach((chance, action) => {
      if (chance < 0.03) return; // what exploring alone leaves: a heap of dots
      const sector = sectors[action];
      context.strokeStyle = context.fillStyle = theme.text;
      context.globalAlpha = 0.35 + 0.65 * chance;
      context.lineWidth = Math.max(1, box.side / 34);
      if (sector) arrow(context, x, y - lift, sector.unit, reach * chance, Math.max(2, head));
      else {
        context.beginPath();
        context.arc(x, y - lift, Math.max(1.5, 0.07 * box.side * chance), 0, 2 * Math.PI);
        context.stroke();
      }
      context.globalAlpha = 1;
    });
  }

  function arrow(context, x, y, [right, down], length, head) {
    const [endX, endY] = [x + right * length, y + down * length];
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(endX, endY);
    context.stroke();
    context.beginPath();
    context.moveTo(endX + right * head, endY + down * head);
    context.lineTo(endX - down * head, endY + right * head);
    context.lineTo(endX + down * head, endY - right * head);
    context.closePath();
    context.fill();
  }

  // ---------------------------------------------------------------------------------------------- the agent

  function outlineCell(context, cell, inset) {
    if (!(cell >= 0)) return;
    const [x, y] = centre(cell);
    context.strokeRect(x - box.side / 2 + inset, y - box.side / 2 + inset, box.side - 2 * inset, box.side - 2 * inset);
  }

  const near = (a, b) => Math.abs((a % columns) - (b % columns)) <= 1 && Math.abs(Math.floor(a / columns) - Math.floor(b / columns)) <= 1;

  /** The cell that it left in a step: as the run says, for an episode may have begun there; else that of the step before. */
  const leftIn = (step) => agent(step)[3] ?? (step > 0 ? agent(step - 1)[0] : -1);

  function drawAgent(context, theme, state) {
    const [cell, intended, executed] = agent(state.step);
    if (!(cell >= 0)) return;
    drawTrail(context, state.step);
    const from = state.step === state.previous + 1 ? leftIn(state.step) : agent(state.previous)[0];
    const to = centre(cell);
    const start = from >= 0 && near(from, cell) ? centre(from) : to;
    const at = to.map((value, k) => start[k] + (value - start[k]) * state.mix);
    const before = leftIn(state.step);
    if (before >= 0 && executed >= 0 && intended !== executed) drawSlip(context, theme, before, intended, executed);
    const radius = Math.max(2.5, 0.2 * box.side);
    context.beginPath();
    context.arc(at[0], at[1], radius, 0, 2 * Math.PI);
    context.fillStyle = AGENT;
    context.fill();
    context.strokeStyle = "#10131a";
    context.lineWidth = Math.max(1, radius / 8);
    context.stroke();
    if (radius > 6) {
      context.fillStyle = "#10131a";
      for (const eye of [-0.35, 0.35]) {
        context.beginPath();
        context.arc(at[0] + eye * radius, at[1] - 0.15 * radius, 0.12 * radius, 0, 2 * Math.PI);
        context.fill();
      }
    }
    if (flash && state.step > 0) drawFlash(context, theme, state.step, at);
  }

  function drawTrail(context, step) {
    context.strokeStyle = AGENT;
    context.lineWidth = Math.max(1.5, 0.05 * box.side);
    context.lineCap = "round";
    for (let back = 0; back < Math.min(spec.trail, step + 1); back++) {
      const [a, b] = [leftIn(step - back), agent(step - back)[0]];
      if (a >= 0 && b >= 0 && a !== b && near(a, b)) {
        context.globalAlpha = 0.85 * (1 - back / spec.trail);
        context.beginPath();
        context.moveTo(...centre(a));
        context.lineTo(...centre(b));
        context.stroke();
      }
      if (step > back && agent(step - back - 1)[0] !== a) break; // an episode began here
    }
    context.globalAlpha = 1;
  }

  /** What was intended, dashed, beside what was done. */
  function drawSlip(context, theme, cell, intended, executed) {
    const [x, y] = centre(cell);
    for (const [action, dashed] of [[intended, true], [executed, false]]) {
      if (!sectors[action]) continue;
      context.strokeStyle = context.fillStyle = dashed ? theme.muted : theme.text;
      context.lineWidth = Math.max(1.2, box.side / 30);
      context.setLineDash(dashed ? [3, 3] : []);
      arrow(context, x, y, sectors[action].unit, 0.4 * box.side, Math.max(2.5, 0.06 * box.side));
    }
    context.setLineDash([]);
  }

  /** The numbers of the step on a plate beside the agent's cell: above, or below in the first row. */
  function drawFlash(context, theme, step, [x, y]) {
    const text = Array.from(flash(step), (value, k) => (Number.isNaN(value) ? "" : `${spec.flash_names[k]} ${formatNumber(value, spec.format)}`)).filter(Boolean).join("  ");
    if (!text) return;
    context.font = `600 11px ${theme.font}`;
    const wide = context.measureText(text).width + 12;
    const left = Math.max(2, Math.min(box.width - wide - 2, x - wide / 2));
    const top = y - 0.5 * box.side - 18 >= 0 ? y - 0.3 * box.side - 18 : y + 0.3 * box.side;
    context.globalAlpha = 0.94;
    context.fillStyle = css(theme.ground);
    context.strokeStyle = theme.line;
    context.lineWidth = 1;
    context.beginPath();
    context.roundRect(left, top, wide, 18, 4);
    context.fill();
    context.stroke();
    context.globalAlpha = 1;
    write(context, theme, text, left + 6, top + 9.5, { size: 11, weight: 600, colour: theme.text });
  }

  // ------------------------------------------------------------------------------------- jumps, wind, legend

  function drawArrows(context, theme) {
    context.strokeStyle = context.fillStyle = theme.hues.score;
    for (const { cell, to, label } of spec.arrows) {
      const [x, y] = centre(cell), [endX, endY] = centre(to);
      const [bendX, bendY] = [(x + endX) / 2 + 0.35 * (endY - y), (y + endY) / 2 - 0.35 * (endX - x)];
      context.lineWidth = 1.5;
      context.beginPath();
      context.moveTo(x, y);
      context.quadraticCurveTo(bendX, bendY, endX, endY);
      context.stroke();
      const angle = Math.atan2(endY - bendY, endX - bendX);
      arrow(context, endX, endY, [Math.cos(angle), Math.sin(angle)], 0, Math.max(3, 0.07 * box.side));
      writeJump(context, theme, label, x + 0.5 * box.side - 3, y - 0.5 * box.side + 3);
    }
  }

  /** What a jump earns, on a plate in the upper right corner of its cell, which no number of the cell reaches. */
  function writeJump(context, theme, label, right, top) {
    const size = Math.max(7, Math.min(11, box.side / 9));
    context.font = `700 ${size}px ${theme.font}`;
    const wide = context.measureText(label).width + 4;
    context.save();
    context.fillStyle = css(theme.ground);
    context.fillRect(right - wide, top, wide, size + 4);
    context.restore();
    write(context, theme, label, right - 2, top + size / 2 + 2, { align: "right", size, weight: 700, colour: theme.hues.score });
  }

  function drawWind(context, theme) {
    spec.wind.forEach((strength, column) => {
      if (!strength) return;
      const text = box.side >= 22 ? `↑ ${strength}` : String(strength);
      write(context, theme, text, box.x + (column + 0.5) * box.side, box.y + rows * box.side + 11, { align: "center", weight: 600 });
    });
  }

  /** What the outlines mean, as far as they occur. */
  function drawLegend(context, theme, step) {
    const present = new Set(kinds(step));
    const items = [
      present.has(FORBIDDEN) && ["forbidden", VERMILION[theme.dark ? "dark" : "light"], [4, 2.5]],
      present.has(TARGET) && ["target", theme.hues.good, []],
      agent && ["agent", AGENT, null],
    ].filter(Boolean);
    let x = box.x + 2;
    const y = box.total - 11;
    for (const [name, colour, dash] of items) {
      context.lineWidth = 2;
      context.strokeStyle = context.fillStyle = colour;
      context.beginPath();
      if (dash) {
        context.setLineDash(dash);
        context.strokeRect(x, y - 5, 12, 10);
        context.setLineDash([]);
      } else {
        context.arc(x + 6, y, 5, 0, 2 * Math.PI);
        context.fill();
      }
      write(context, theme, name, x + 18, y);
      x += 34 + context.measureText(name).width;
    }
  }

  // --------------------------------------------------------------------------------------------- the panel

  const cellAt = (x, y) => {
    const [column, row] = [Math.floor((x - box.x) / box.side), Math.floor((y - box.y) / box.side)];
    return row >= 0 && column >= 0 && row < rows && column < columns ? row * columns + column : -1;
  };

  function wordsOf(cell, step) {
    const kind = { [FLOOR]: "", [WALL]: "wall", [FORBIDDEN]: "forbidden", [TARGET]: "target" }[kinds(step)[cell]];
    const parts = [`row ${Math.floor(cell / columns) + 1}, column ${cell % columns + 1}`, kind];
    if (kinds(step)[cell] === WALL) return parts.join(": ");
    if (values) parts.push(`value ${formatNumber(values(step)[cell], ".4f")}`);
    const likely = chances(step, cell), numbers = q?.(step);
    spec.directions.forEach((direction, action) => {
      const said = [numbers && formatNumber(numbers[cell * actions + action], ".4f"), likely && likely[action] > 0 && `${Math.round(100 * likely[action])}%`].filter(Boolean);
      if (said.length) parts.push(`${nameOf(direction)} ${said.join(", ")}`);
    });
    return parts.filter(Boolean).join(" · ");
  }

  const nameOf = ([down, right]) => [["up", "", "down"][down + 1], ["left", "", "right"][right + 1]].filter(Boolean).join(" ") || "stay";

  /** The last step up to this one whose words speak of a cell, else the next; -1 for none. */
  function stepOf(cell, step, steps) {
    for (let at = step; at >= 0; at--) if (told(at)[0] === cell) return at;
    for (let at = step + 1; at < steps; at++) if (told(at)[0] === cell) return at;
    return -1;
  }

  return {
    cellAt,
    stepOf,
    layout(width) {
      place(width);
      return box.total;
    },
    draw(context, theme, state) {
      paintGround(context, theme, state.step);
      const density = context.getTransform().a;
      context.drawImage(ground, 0, 0, ground.width / density, ground.height / density);
      drawArrows(context, theme);
      drawWind(context, theme);
      drawLegend(context, theme, state.step);
      if (agent) drawAgent(context, theme, state);
      context.strokeStyle = theme.hues.current;
      context.lineWidth = 3;
      if (told && !agent) outlineCell(context, told(state.step)[0], 1.5);
      context.lineWidth = 2;
      for (const cell of this.painting ?? []) outlineCell(context, cell, 1);
    },
    hit(x, y, state) {
      const cell = cellAt(x, y);
      if (cell < 0) return null;
      return { text: wordsOf(cell, state.step), index: [Math.floor(cell / columns), cell % columns] };
    },
    describe(state) {
      const cell = agent ? agent(state.step)[0] : -1;
      const where = cell >= 0 ? `, the agent in row ${Math.floor(cell / columns) + 1}, column ${cell % columns + 1}` : "";
      return `${spec.title}, ${rows} by ${columns} cells${where}`;
    },
  };
});
