// Decoding: every number that Python packed, at every step, in whatever order the steps are visited.

import assert from "node:assert/strict";
import test from "node:test";

import { decodeBlob, KEYFRAME_EVERY, reader } from "../../explainers/player/data.js";
import { bytesOf, jsonOf, plain } from "./fixtures.mjs";

const whole = jsonOf("whole.json");
const decoded = () => decodeBlob(bytesOf("whole.bin"));
const panelsOf = (scene) => scene.columns.flatMap((column) => column.panels);

test("options and fields arrive as they were sent", () => {
  const { options, scene } = decoded();
  assert.deepEqual(options, { address: "step", mode: "full", opening: 3, serves: false, paints: true, resumes: 7, plays: true });
  assert.equal(scene.title, "whole, with an é");
  assert.equal(scene.steps, whole.steps);
  assert.deepEqual(scene.stops, [1, 75]);
  assert.deepEqual(scene.words.sentences, whole.sentences);
});

test("a blob may begin at any place of its buffer", () => {
  const bytes = bytesOf("whole.bin");
  for (const offset of [1, 2, 3, 5]) {
    const moved = new Uint8Array(bytes.length + offset);
    moved.set(bytes, offset);
    assert.deepEqual(decodeBlob(moved.subarray(offset)).scene.stops, [1, 75]);
  }
});

test("another version, or something else, is refused", () => {
  const bytes = bytesOf("whole.bin");
  const start = Math.ceil((4 + new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true)) / 8) * 8;
  for (const at of [start, start + 4]) {
    const wrong = bytes.slice();
    wrong[at] += 1;
    assert.throws(() => decodeBlob(wrong), /not a scene of version 1/);
  }
});

test("words have their numbers at every step", () => {
  const { words } = decoded().scene;
  assert.deepEqual(words.values.shape, [whole.steps, 2]);
  for (let step = 0; step < whole.steps; step++) {
    assert.deepEqual(plain(words.values.data.subarray(2 * step, 2 * step + 2)), whole.words[step]);
    assert.equal(words.which.data[step], step % 2);
  }
});

test("tracks, with rows of their own or shared, and constants", () => {
  const [, marks] = panelsOf(decoded().scene);
  const [moving, still] = marks.layers;
  const [x, y, constant] = [reader(moving.x), reader(moving.y), reader(still.y)];
  for (let step = 0; step < whole.steps; step++) {
    assert.deepEqual(plain(x(step)), whole.shared[step]);
    assert.deepEqual(plain(y(step)), whole.own[step]);
    assert.deepEqual(plain(constant(step)), [1, 1]);
  }
});

test("what is absent has no reader, and a step beyond the last row shows the last", () => {
  assert.equal(reader(null), null);
  assert.equal(reader(undefined), null);
  const [, marks] = panelsOf(decoded().scene);
  assert.deepEqual(plain(reader(marks.layers[0].y)(whole.steps + 5)), whole.own.at(-1));
});

const orders = {
  "one after the other": [...Array(whole.steps).keys()],
  backwards: [...Array(whole.steps).keys()].reverse(),
  "back by one, then far ahead": [10, 9, 8, 140, 139, 64, 63, 65, 0, 149],
  "over keyframes": [0, KEYFRAME_EVERY - 1, KEYFRAME_EVERY, KEYFRAME_EVERY + 1, 2 * KEYFRAME_EVERY, 1],
  "the same twice": [77, 77, 3, 3],
};
for (const [name, steps] of Object.entries(orders)) {
  test(`patches are right ${name}`, () => {
    const [matrix] = panelsOf(decoded().scene);
    const values = reader(matrix.values);
    for (const step of steps) {
      const wanted = whole.patches[step].map((value) => (value === null ? null : Math.fround(value)));
      assert.deepEqual(plain(values(step)), wanted, `step ${step}`);
    }
  });
}
