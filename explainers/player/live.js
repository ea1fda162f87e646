// A run that goes on (scene.Live): the chunks that the player holds, and the one scene that they make together.

/** @import { Axis, Line, Lines, LiveScene, NumberArray, Numbers, Patches, Scene, Track, Words } from "./types.d.ts" */
/** @typedef {Record<string, unknown>} Fields */
/** @typedef {Lines & {shown: Track}} Growing */

const NEAR = 64; // steps from the beginning of what is held

/** @param {Scene} scene @returns {scene is LiveScene} */
export const isLive = (scene) => scene.live !== null;

export function liveRun() {
  /** @type {LiveScene[]} each beginning where the one before ends */
  let chunks = [];
  /** @param {LiveScene} chunk */
  const endOf = (chunk) => chunk.live.first + chunk.steps;
  const length = () => endOf(lastOf(chunks)) - chunks[0].live.first;

  /** Whether a chunk saw the same settings as the newer one did, up to its end. @param {LiveScene} held @param {LiveScene} newer */
  function belongs(held, newer) {
    /** @param {LiveScene} chunk */
    const seen = ({ live }) => JSON.stringify(live.changes.filter(([at]) => at < endOf(held)));
    return held.live.lineage === newer.live.lineage && seen(held) === seen(newer);
  }

  return {
    /** Takes a chunk in, and drops what does not go with it. Returns the joined scene; its live.first is the oldest's. @param {LiveScene} chunk */
    add(chunk) {
      const held = chunks.filter((other) => belongs(other, chunk));
      chunks = [chunk];
      for (const other of held.filter((each) => endOf(each) <= chunk.live.first).reverse()) {
        if (endOf(other) === chunks[0].live.first) chunks.unshift(other);
      }
      for (const other of held.filter((each) => each.live.first >= endOf(chunk))) {
        if (other.live.first === endOf(lastOf(chunks))) chunks.push(other);
      }
      while (chunks.length > 1 && length() > chunk.live.kept) {
        if (chunks[0] === chunk) chunks.pop();
        else chunks.shift();
      }
      return joinScenes(chunks, chunk);
    },
  };
}

/** @template Item @param {Item[]} items */
const lastOf = (items) => items[items.length - 1];

/** @param {LiveScene[]} chunks @param {LiveScene} newest @returns {LiveScene} */
function joinScenes(chunks, newest) {
  const steps = chunks.reduce((sum, chunk) => sum + chunk.steps, 0);
  const first = chunks[0].live.first;
  return {
    ...newest,
    steps,
    columns: joinValues(chunks.map((chunk) => chunk.columns), chunks.indexOf(newest)),
    words: joinWords(chunks.map((chunk) => chunk.words), newest.words),
    stops: chunks.flatMap((chunk) => chunk.stops.map((stop) => stop + chunk.live.first - first)),
    live: { ...newest.live, first, last: lastOf(chunks).live.last },
  };
}

/** @param {unknown} value @returns {value is Fields} */
const isObject = (value) => value !== null && typeof value === "object";
/** @param {unknown} value @returns {value is unknown[]} */
const isList = (value) => Array.isArray(value);
/** @param {unknown} value @returns {value is Numbers} */
const isNumbers = (value) => isObject(value) && "data" in value;
/** @param {unknown} value @returns {value is Patches} */
const isPatches = (value) => isObject(value) && "keyframes" in value;
/** @param {unknown} value @returns {value is Track} */
const isTrack = (value) => isObject(value) && isNumbers(value.values) && "at" in value;
/** @param {unknown} value @returns {value is Line} */
const isLine = (value) => isObject(value) && isNumbers(value.x) && "dashed" in value;
/** @param {unknown} value @returns {value is Growing} */
const isGrowing = (value) => isObject(value) && isList(value.lines) && isTrack(value.shown);

/**
 * One value out of the same place of each chunk: what changes from step to step is joined, all else is the newest's.
 * @template Value
 * @overload
 * @param {Value[]} values
 * @param {number} newest
 * @returns {Value}
 */
/** @param {unknown[]} values @param {number} newest @returns {unknown} */
function joinValues(values, newest) {
  if (values.every(isPatches)) return joinPatches(values);
  if (values.every(isTrack)) return joinTracks(values);
  if (values.every(isLine)) return { ...values[newest], x: joinArrays(values.map((line) => line.x)), y: joinArrays(values.map((line) => line.y)) };
  if (values.every(isList)) return values[newest].map((_, k) => joinValues(values.map((each) => each[k]), newest));
  if (values.every(isNumbers) || !values.every(isObject)) return values[newest];
  const joined = Object.fromEntries(Object.keys(values[newest]).map((key) => [key, joinValues(values.map((each) => each[key]), newest)]));
  return values.every(isGrowing) ? { ...joined, ...joinGrowing(values) } : joined;
}

/** What the curves of all chunks share. @param {Growing[]} panels */
function joinGrowing(panels) {
  return { shown: joinShown(panels), x: joinAxes(panels.map((panel) => panel.x)), y: joinAxes(panels.map((panel) => panel.y)) };
}

/** The range of all chunks, with the ticks of the widest. @param {Axis[]} axes @returns {Axis} */
function joinAxes(axes) {
  const widest = axes.reduce((best, axis) => (axis.high - axis.low >= best.high - best.low ? axis : best));
  return { ...widest, low: Math.min(...axes.map((axis) => axis.low)), high: Math.max(...axes.map((axis) => axis.high)) };
}

/** An array of the same type. @param {NumberArray} array @param {number} size */
function emptyLike(array, size) {
  if (array instanceof Float32Array) return new Float32Array(size);
  return array instanceof Int32Array ? new Int32Array(size) : new Uint8Array(size);
}

/**
 * Arrays one after the other along their first axis.
 * @param {Numbers[]} arrays
 * @param {number[]} [offsets] what is added to the numbers of each
 * @returns {Numbers}
 */
function joinArrays(arrays, offsets) {
  const rows = arrays.reduce((sum, array) => sum + array.shape[0], 0);
  const size = arrays.reduce((sum, array) => sum + array.data.length, 0);
  const data = emptyLike(arrays[0].data, size);
  let at = 0;
  arrays.forEach((array, k) => {
    data.set(offsets?.[k] ? array.data.map((number) => number + offsets[k]) : array.data, at);
    at += array.data.length;
  });
  return { data, shape: [rows, ...arrays[0].shape.slice(1)] };
}

/** What each chunk's numbers are moved by when `counts` of things lie in the chunks before it. @param {number[]} counts */
function before(counts) {
  let sum = 0;
  return counts.map((count) => {
    sum += count;
    return sum - count;
  });
}

/** @param {Track[]} tracks @returns {Track} */
function joinTracks(tracks) {
  const rows = before(tracks.map((track) => track.values.shape[0]));
  const at = tracks.some((track) => track.at) ? joinArrays(tracks.map(rowsOf), rows) : null;
  return { values: joinArrays(tracks.map((track) => track.values)), at };
}

/** The row of each step. @param {Track} track @returns {Numbers} */
const rowsOf = ({ at, values: { shape: [rows] } }) => at ?? { data: Int32Array.from({ length: rows }, (_, row) => row), shape: [rows] };

/** @param {Patches[]} parts @returns {Patches} */
function joinPatches(parts) {
  const changes = before(parts.map((part) => part.positions.data.length));
  const starts = joinArrays(parts.map(({ starts: { data, shape } }) => ({ data: data.subarray(0, -1), shape: [shape[0] - 1] })), changes);
  const end = lastOf(changes) + lastOf(parts).positions.data.length;
  return {
    keyframes: joinArrays(parts.map((part) => part.keyframes)),
    starts: joinArrays([starts, { data: Int32Array.of(end), shape: [1] }]),
    positions: joinArrays(parts.map((part) => part.positions)),
    values: joinArrays(parts.map((part) => part.values)),
  };
}

/** @param {Growing[]} panels @returns {Track} */
function joinShown(panels) {
  const points = before(panels.map((panel) => panel.lines[0].x.data.length));
  return { values: joinArrays(panels.map((panel) => panel.shown.values), points), at: null };
}

/** @param {Words[]} words @param {Words} newest @returns {Words} */
function joinWords(words, newest) {
  return { ...newest, which: joinArrays(words.map((each) => each.which)), values: joinArrays(words.map((each) => each.values)) };
}

/**
 * The first step that the page should send next; null for none. Steps after those held are asked for when the end comes
 * near; steps before them when the beginning does, and in a pause while there is room.
 * @param {LiveScene} scene the joined scene
 * @param {{step: number, playing: boolean}} playback
 * @param {number} chunkSteps steps of a chunk
 */
export function lackingStep(scene, { step, playing }, chunkSteps) {
  const { first, last, ahead, kept } = scene.live;
  if (scene.steps - 1 - step < ahead && !last) return first + scene.steps;
  if (first > 0 && (step < NEAR || (!playing && scene.steps + chunkSteps <= kept))) return first - 1;
  return null;
}
