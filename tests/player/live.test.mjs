// A live run: chunks join into one scene with the numbers of the whole run, and give way where the run has changed.

import assert from "node:assert/strict";
import test from "node:test";

import { decodeBlob, reader } from "../../explainers/player/data.js";
import { lackingStep, liveRun } from "../../explainers/player/live.js";
import { bytesOf, jsonOf, plain } from "./fixtures.mjs";

const run = jsonOf("live.json");
const CHUNK = 128;
const chunk = (number, changes) => {
  const { scene } = decodeBlob(bytesOf(`chunk${number}.bin`));
  Object.assign(scene.live, changes);
  return scene;
};

function assertSame(scene) {
  const { first } = scene.live;
  const [matrix, marks, lines] = scene.columns.flatMap((column) => column.panels);
  const [patches, shared, own] = [reader(matrix.values), reader(marks.layers[0].x), reader(marks.layers[0].y)];
  const shown = reader(lines.shown);
  for (let step = 0; step < scene.steps; step++) {
    const at = first + step;
    const wanted = run.patches[at].map((value) => (value === null ? null : Math.fround(value)));
    assert.deepEqual(plain(patches(step)), wanted, `patches of step ${at}`);
    assert.deepEqual(plain(shared(step)), run.shared[at]);
    assert.deepEqual(plain(own(step)), run.own[at]);
    assert.deepEqual(plain(scene.words.values.data.subarray(2 * step, 2 * step + 2)), run.words[at]);
    assert.equal(lines.lines[0].x.data[shown(step)[0] - 1], at);
  }
}

test("one chunk is as it came", () => {
  const scene = liveRun().add(chunk(0));
  assert.equal(scene.steps, CHUNK);
  assertSame(scene);
});

test("a chunk after another joins it, stops, axes and curves too", () => {
  const chunks = liveRun();
  chunks.add(chunk(0));
  const scene = chunks.add(chunk(1));
  assert.deepEqual([scene.live.first, scene.steps], [0, 2 * CHUNK]);
  assert.deepEqual(scene.stops, [1, 64, 129, 192]);
  const lines = scene.columns[1].panels[1];
  assert.deepEqual([lines.x.low, lines.x.high], [0, 2 * CHUNK]);
  assertSame(scene);
});

test("a track that names the row of each step joins one that does not", () => {
  const chunks = liveRun();
  chunks.add(chunk(0));
  const named = chunk(1);
  named.columns[1].panels[0].layers[0].y.at = { data: Int32Array.from({ length: CHUNK }, (_, step) => step), shape: [CHUNK] };
  assertSame(chunks.add(named));
});

test("a chunk before another joins it", () => {
  const chunks = liveRun();
  chunks.add(chunk(1));
  const scene = chunks.add(chunk(0));
  assert.deepEqual([scene.live.first, scene.steps], [0, 2 * CHUNK]);
  assertSame(scene);
});

test("beyond what is kept, the side away from the new chunk goes", () => {
  const forwards = liveRun();
  for (const number of [0, 1]) forwards.add(chunk(number));
  assert.deepEqual([forwards.add(chunk(2)).live.first], [CHUNK]);
  const backwards = liveRun();
  for (const number of [2, 1]) backwards.add(chunk(number));
  const scene = backwards.add(chunk(0));
  assert.deepEqual([scene.live.first, scene.steps], [0, 2 * CHUNK]);
  assertSame(scene);
});

test("a chunk that does not touch the others stands alone", () => {
  const chunks = liveRun();
  chunks.add(chunk(0));
  assert.deepEqual([chunks.add(chunk(2)).live.first], [2 * CHUNK]);
});

test("a change drops what came after it, and keeps what came before", () => {
  const chunks = liveRun();
  for (const number of [0, 1]) chunks.add(chunk(number));
  const changed = { changes: [[CHUNK + 10, "epsilon=0.3"]] };
  const scene = chunks.add(chunk(1, changed));
  assert.deepEqual([scene.live.first, scene.steps], [0, 2 * CHUNK]);
  const early = liveRun();
  for (const number of [0, 1]) early.add(chunk(number));
  assert.equal(early.add(chunk(1, { changes: [[5, "epsilon=0.3"]] })).live.first, CHUNK);
});

test("another run drops all", () => {
  const chunks = liveRun();
  for (const number of [0, 1]) chunks.add(chunk(number));
  const scene = chunks.add(chunk(0, { lineage: "another" }));
  assert.deepEqual([scene.live.first, scene.steps], [0, CHUNK]);
});

const held = (changes, steps = 1000) => ({ steps, live: { first: 0, last: false, ahead: 200, kept: 5000, ...changes } });
const at = (step, playing = false) => ({ step, playing });

test("the step that is lacking", () => {
  assert.equal(lackingStep(held({}), at(100), CHUNK), null);
  assert.equal(lackingStep(held({}), at(900), CHUNK), 1000);
  assert.equal(lackingStep(held({ last: true }), at(900), CHUNK), null);
  assert.equal(lackingStep(held({ first: 640 }), at(500), CHUNK), 639, "in a pause, while there is room");
  assert.equal(lackingStep(held({ first: 640 }), at(500, true), CHUNK), null, "not while it plays");
  assert.equal(lackingStep(held({ first: 640 }), at(10, true), CHUNK), 639, "unless the beginning is near");
  assert.equal(lackingStep(held({ first: 640, kept: 1000 }), at(500), CHUNK), null, "not without room");
  assert.equal(lackingStep(held({ first: 640 }), at(999), CHUNK), 1640, "the end comes first");
});
