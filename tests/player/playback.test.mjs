// Playback as a state machine: which step is shown, and when the next one is due.

import assert from "node:assert/strict";
import test from "node:test";

import { openingStep, Playback, stopAfter, stopBefore } from "../../explainers/player/playback.js";

function opened(rules = {}, step = 0) {
  const playback = new Playback();
  playback.open({ steps: 10, rate: 2, loops: false, waits: false, restarts: true, ...rules }, step);
  return playback;
}

test("a scene opens at a step within it", () => {
  assert.equal(opened({}, 4).step, 4);
  assert.equal(opened({}, -3).step, 0);
  assert.equal(opened({}, 99).step, 9);
  assert.equal(opened({ steps: 1 }, 5).step, 0);
});

test("going to a step stays within the scene and says whether it moved", () => {
  const playback = opened({}, 8);
  assert.equal(playback.go(9, 0), true);
  assert.equal(playback.go(12, 0), false);
  assert.deepEqual([playback.previous, playback.step], [8, 9]);
  assert.equal(playback.go(-1, 0), true);
  assert.equal(playback.step, 0);
});

test("it plays at its rate and speed", () => {
  const playback = opened();
  playback.play(1000);
  playback.advance(1499);
  assert.equal(playback.step, 0);
  playback.advance(1500);
  assert.equal(playback.step, 1);
  playback.speed = 4;
  playback.advance(1625);
  assert.equal(playback.step, 2);
});

test("a late frame takes all the steps that are due", () => {
  const playback = opened();
  playback.play(0);
  playback.advance(2600);
  assert.equal(playback.step, 5);
});

test("it ends at the last step, and plays again from the first", () => {
  const playback = opened();
  playback.play(0);
  assert.equal(playback.advance(60_000), true);
  assert.equal(playback.step, 9);
  assert.equal(playback.pause(), true);
  assert.equal(playback.pause(), false);
  playback.play(70_000);
  assert.deepEqual([playback.step, playback.playing], [0, true]);
});

test("a card begins again by itself", () => {
  const playback = opened({ loops: true }, 9);
  playback.playing = true;
  assert.equal(playback.advance(60_000), false);
  assert.equal(playback.step, 0);
});

test("a live run waits at its end for more, and goes on when more has come", () => {
  const live = { waits: true, restarts: false };
  const playback = opened(live, 8);
  playback.play(0);
  assert.equal(playback.advance(500), false);
  assert.deepEqual([playback.step, playback.waitingSince], [9, 500]);
  playback.advance(3000);
  assert.equal(playback.waitingSince, 500, "since when it waits does not change");
  playback.open({ steps: 20, rate: 2, loops: false, ...live }, 9);
  playback.advance(3500);
  assert.deepEqual([playback.step, playback.waitingSince, playback.playing], [10, 0, true]);
});

test("a live run that is over stays at its last step", () => {
  const playback = opened({ restarts: false }, 9);
  playback.play(0);
  assert.equal(playback.step, 9);
  assert.equal(playback.advance(500), true);
});

test("marks glide to a new step, and jump when it is fast or the reader wants no motion", () => {
  const playback = opened();
  assert.equal(playback.state(0, false).mix, 1);
  playback.go(1, 1000);
  const begun = playback.state(1000, false), midway = playback.state(1080, false), over = playback.state(1160, false);
  assert.deepEqual([begun.mix, over.mix], [0, 1]);
  assert.ok(midway.mix > 0.5 && midway.mix < 1);
  assert.deepEqual([midway.previous, midway.step], [0, 1]);
  assert.equal(playback.state(1000, true).mix, 1);
  playback.playing = true;
  assert.equal(playback.state(1000, false).mix, 0);
  playback.speed = 8;
  assert.equal(playback.state(1000, false).mix, 1);
});

test("stops", () => {
  const stops = [2, 5, 8];
  assert.deepEqual([0, 2, 6, 9].map((step) => stopAfter(stops, step, 9)), [2, 5, 8, 9]);
  assert.deepEqual([0, 2, 6, 9].map((step) => stopBefore(stops, step)), [0, 0, 5, 8]);
});

const scene = { steps: 20, start: 4 };
const opening = (found) => openingStep({
  scene, before: undefined, step: 0, reopened: false, goesOn: false, moved: 0, wanted: null, resumes: null, left: null, ...found,
});

test("a scene opens at its start for a new reader", () => assert.equal(opening({}), 4));
test("the address comes first", () => assert.equal(opening({ wanted: 7, resumes: 9, left: 11 }), 7));
test("then the step that the page gives a reader who comes back", () => assert.equal(opening({ resumes: 9, left: 11 }), 9));
test("then the step at which the same picture was left", () => assert.equal(opening({ left: 11 }), 11));
test("with new data the step stays", () => assert.equal(opening({ before: { steps: 15, start: 4 }, step: 6 }), 6));
test("the last step stays the last", () => assert.equal(opening({ before: { steps: 15, start: 4 }, step: 14 }), 19));
test("a button opens a scene at its own start", () => assert.equal(opening({ before: scene, step: 6, reopened: true }), 4));
test("a scene that reopens does so when its start has changed", () => {
  const reopens = { ...scene, reopens: true };
  assert.equal(opening({ scene: reopens, before: { steps: 20, start: 3 }, step: 6 }), 4);
  assert.equal(opening({ scene: reopens, before: { steps: 20, start: 4 }, step: 6 }), 6);
});
test("a live run goes on at the same step of the run", () => {
  assert.equal(opening({ scene: { ...scene, live: {} }, before: scene, step: 6, goesOn: true, moved: -2, wanted: 1 }), 4);
  assert.equal(opening({ scene: { ...scene, live: {} }, before: scene, step: 6, goesOn: true, reopened: true, wanted: 1 }), 1);
});
test("another live run begins at its start", () => assert.equal(opening({ scene: { ...scene, live: {} }, before: scene, step: 6 }), 4));
