// Numbers, sentences, keys and the address.

import assert from "node:assert/strict";
import test from "node:test";

import { stepIn, withStep } from "../../explainers/player/address.js";
import { contrast, inkOf, inkOn } from "../../explainers/player/contrast.js";
import { HUES } from "../../explainers/player/drawing.js";
import { changesControl, meaningOf } from "../../explainers/player/keys.js";
import { formatNumber } from "../../explainers/player/numbers.js";
import { countText } from "../../explainers/player/transport.js";
import { filled, split } from "../../explainers/player/words.js";
import { jsonOf } from "./fixtures.mjs";

test("sizes read as Python writes them", () => {
  for (const [size, form, text] of jsonOf("sizes.json")) assert.equal(formatNumber(size, form), text, `${size} as ${form}`);
});

const written = [
  [1234567, "d", "1,234,567"], [2.5, "d", "3"], [-3, "d", "−3"], [-0.2, "d", "0"],
  [2.34567, ".2f", "2.35"], [-0.001, ".2f", "0.00"], [-1.5, ".1f", "−1.5"],
  [12345, ".2e", "1.23e+4"], [0.5, ".3g", "0.5"], [123456, ".3g", "123000"], [1234567, ".3g", "1.23e+6"], [0.00012, ".3g", "1.20e−4"],
  [0, ".3g", "0"], [NaN, ".3g", "NaN"], [Infinity, "d", "∞"], [-Infinity, ".2f", "−∞"],
  [-2, "(.2f", "(−2.00)"], [2, "(.2f", "2.00"], [500, "allbytes", "500 B"], [2 ** 30, "allbytes", "1.07 GB · 1 GiB"],
];
for (const [value, form, text] of written) test(`${value} as ${form} is ${text}`, () => assert.equal(formatNumber(value, form), text));

test("a template is filled with the numbers of its columns", () => {
  assert.equal(filled(split("row {1:d} of {0:d}, **{2:.1f}**"), [9, 3, 0.25]), "row 3 of 9, **0.3**");
  assert.equal(filled(split("nothing to fill"), []), "nothing to fill");
});

const scene = { steps: 10, stops: [3, 6] };
const keys = {
  Home: 0, End: 9, ArrowLeft: 4, PageUp: 4, ArrowRight: 6, PageDown: 6, ArrowUp: 3, ArrowDown: 6,
  " ": "play", s: "picture", S: "picture", F: "screen", c: "code", x: null, Tab: null, Enter: null,
};
for (const [key, meaning] of Object.entries(keys)) test(`the key ${JSON.stringify(key)}`, () => assert.equal(meaningOf(key, 5, scene), meaning));

test("keys that change a control of the page", () => {
  assert.deepEqual(["ArrowUp", "Enter", " ", "PageDown", "a", "Tab"].map(changesControl), [true, true, true, true, false, false]);
});

test("the step in an address", () => {
  assert.equal(stepIn("?seq_len=64&step=12", "step"), 12);
  assert.equal(stepIn("?backward.step=7", "backward.step"), 7);
  for (const query of ["", "?step=", "?step=-1", "?step=1.5", "?step=1e3", "?step=9999999999"]) assert.equal(stepIn(query, "step"), null, query);
  assert.equal(stepIn("?step=3", ""), null);
});

test("an address gets another step, and keeps the rest", () => {
  assert.equal(withStep("http://localhost/packing?k=2#here", "step", 5), "http://localhost/packing?k=2&step=5#here");
  assert.equal(withStep("http://localhost/packing?step=4&k=2", "step", 5), "http://localhost/packing?step=5&k=2");
  assert.equal(withStep("http://localhost/packing?step=5", "step", 5), null);
  assert.equal(withStep("http://localhost/packing", "", 5), null);
});

test("the count", () => {
  const tiles = { steps: 40, step_name: "tile", live: null };
  const run = { steps: 100, step_name: "transition", live: { last: false } };
  assert.equal(countText(tiles, { step: 2 }, 0, false, 0), "tile 3 of 40");
  assert.equal(countText(tiles, { step: 2 }, 0, true, 0), "3 / 40");
  assert.equal(countText(run, { step: 9, waitingSince: 0 }, 5120, false, 0), "transition 5,130, still learning");
  assert.equal(countText(run, { step: 9, waitingSince: 1 }, 5120, false, 2000), "transition 5,130, computing");
  assert.equal(countText({ ...run, live: { last: true } }, { step: 99, atEnd: true, waitingSince: 0 }, 0, false, 0), "transition 100, the last");
  assert.equal(countText(run, { step: 9, waitingSince: 0 }, 5120, true, 0), "5,130");
});

/** Contrast after the guidelines, for tests: lightness from a table of all 256 parts. */
const LINEAR = Array.from({ length: 256 }, (_, part) => (part <= 10 ? part / 3294.6 : ((part + 14.025) / 269.025) ** 2.4));
function ratio(a, b) {
  const shades = [a, b].map((colour) => colour.map((part) => LINEAR[Math.round(part)]));
  const [dark, light] = shades.map(([red, green, blue]) => 0.05 + red * 0.2126 + green * 0.7152 + blue * 0.0722).sort((p, q) => p - q);
  return light / dark;
}

for (const [theme, ground, text] of [["light", [255, 255, 255], [24, 32, 46]], ["dark", [15, 18, 22], [230, 234, 240]]]) {
  test(`letters of every hue can be read, ${theme}`, () => {
    const frame = ground.map((part, k) => part + (text[k] - part) * (theme === "dark" ? 0.045 : 0.035));
    for (const [name, hue] of Object.entries(HUES[theme])) {
      const colour = [1, 3, 5].map((at) => parseInt(hue.slice(at, at + 2), 16));
      const ink = inkOf(colour, text, frame);
      for (const under of [ground, frame]) assert.ok(ratio(ink, under) >= 4.5, `${name} has ${ratio(ink, under)}`);
      const on = inkOn(colour) === "#ffffff" ? [255, 255, 255] : [0, 0, 0];
      assert.ok(ratio(on, colour) >= 4.5, `on ${name}: ${ratio(on, colour)}`);
      const tinted = ground.map((part, k) => part + (colour[k] - part) * 0.25);
      const both = inkOf(colour, text, ground, tinted);
      for (const under of [ground, tinted]) assert.ok(ratio(both, under) >= 4.5, `${name}, tinted: ${ratio(both, under)}`);
    }
  });
}

test("contrast is what the guidelines define", () => {
  assert.ok(Math.abs(contrast([0xd5, 0x5e, 0x00], [0xff, 0xff, 0xff]) - ratio([0xd5, 0x5e, 0x00], [255, 255, 255])) < 1e-6);
  assert.equal(contrast([0, 0, 0], [255, 255, 255]), 21);
  assert.ok(Math.abs(contrast([0x77, 0x77, 0x77], [255, 255, 255]) - 4.48) < 0.01); // the guidelines' own example of a grey that just fails
});
