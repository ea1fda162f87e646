// A run that goes on (scene.Live): the chunks that the player holds, and the one scene that they make together.

const NEAR = 64; // steps from the beginning of what is held

export function liveRun() {
  let chunks = []; // decoded scenes, each beginning where the one before ends
  const endOf = (chunk) => chunk.live.first + chunk.steps;
  const length = () => (chunks.length ? endOf(chunks.at(-1)) - chunks[0].live.first : 0);

  /** Whether a chunk saw the same settings as the newer one did, up to its end. */
  function belongs(held, newer) {
    const seen = ({ live }) => JSON.stringify(live.changes.filter(([at]) => at < endOf(held)));
    return held.live.lineage === newer.live.lineage && seen(held) === seen(newer);
  }

  return {
    /** Takes a chunk in, and drops what does not go with it. Returns the joined scene; its live.first is the oldest's. */
    add(chunk) {
      const held = chunks.filter((other) => belongs(other, chunk));
      chunks = [chunk];
      for (const other of held.filter((each) => endOf(each) <= chunk.live.first).reverse()) {
        if (endOf(other) === chunks[0].live.first) chunks.unshift(other);
      }
      for (const other of held.filter((each) => each.live.first >= endOf(chunk))) {
        if (other.live.first === endOf(chunks.at(-1))) chunks.push(other);
      }
      while (chunks.length > 1 && length() > chunk.live.kept) {
        if (chunks[0] === chunk) chunks.pop();
        else chunks.shift();
      }
      return joinScenes(chunks, chunk);
    },
  };
}

function joinScenes(chunks, newest) {
  const steps = chunks.reduce((sum, chunk) => sum + chunk.steps, 0);
  const first = chunks[0].live.first;
  return {
    ...newest,
    steps,
    columns: joinValues(chunks.map((chunk) => chunk.columns), chunks.indexOf(newest)),
    words: joinWords(chunks.map((chunk) => chunk.words), newest.words),
    stops: chunks.flatMap((chunk) => chunk.stops.map((stop) => stop + chunk.live.first - first)),
    live: { ...newest.live, first, last: chunks.at(-1).live.last },
  };
}

/** One value out of the same place of each chunk: what changes from step to step is joined, all else is the newest's. */
function joinValues(values, newest) {
  const value = values[newest];
  if (value === null || typeof value !== "object" || value.data) return value;
  if (value.keyframes) return joinPatches(values);
  if (value.values?.data && "at" in value) return joinTracks(values);
  if (value.x?.data && "dashed" in value) return { ...value, x: joinArrays(values.map((line) => line.x)), y: joinArrays(values.map((line) => line.y)) };
  const joined = Array.isArray(value)
    ? value.map((_, k) => joinValues(values.map((each) => each[k]), newest))
    : Object.fromEntries(Object.keys(value).map((key) => [key, joinValues(values.map((each) => each[key]), newest)]));
  if (value.lines && value.shown) {
    joined.shown = joinShown(values);
    for (const axis of ["x", "y"]) joined[axis] = joinAxes(values.map((panel) => panel[axis]));
  }
  return joined;
}

/** The range of all chunks, with the ticks of the widest. */
function joinAxes(axes) {
  const widest = axes.reduce((best, axis) => (axis.high - axis.low >= best.high - best.low ? axis : best));
  return { ...widest, low: Math.min(...axes.map((axis) => axis.low)), high: Math.max(...axes.map((axis) => axis.high)) };
}

/** Arrays one after the other along their first axis; offsets: what is added to the numbers of each. */
function joinArrays(arrays, offsets) {
  const rows = arrays.reduce((sum, array) => sum + array.shape[0], 0);
  const size = arrays.reduce((sum, array) => sum + array.data.length, 0);
  const data = new arrays[0].data.constructor(size);
  let at = 0;
  arrays.forEach((array, k) => {
    data.set(offsets?.[k] ? array.data.map((number) => number + offsets[k]) : array.data, at);
    at += array.data.length;
  });
  return { data, shape: [rows, ...arrays[0].shape.slice(1)] };
}

/** What each chunk's numbers are moved by when `counts` of things lie in the chunks before it. */
function before(counts) {
  let sum = 0;
  return counts.map((count) => {
    sum += count;
    return sum - count;
  });
}

function joinTracks(tracks) {
  const at = tracks[0].at && joinArrays(tracks.map((track) => track.at), before(tracks.map((track) => track.values.shape[0])));
  return { values: joinArrays(tracks.map((track) => track.values)), at };
}

function joinPatches(parts) {
  const changes = before(parts.map((part) => part.positions.data.length));
  const starts = joinArrays(parts.map(({ starts: { data, shape } }) => ({ data: data.subarray(0, -1), shape: [shape[0] - 1] })), changes);
  const end = changes.at(-1) + parts.at(-1).positions.data.length;
  return {
    keyframes: joinArrays(parts.map((part) => part.keyframes)),
    starts: joinArrays([starts, { data: Int32Array.of(end), shape: [1] }]),
    positions: joinArrays(parts.map((part) => part.positions)),
    values: joinArrays(parts.map((part) => part.values)),
  };
}

function joinShown(panels) {
  const points = before(panels.map((panel) => panel.lines[0].x.data.length));
  return { values: joinArrays(panels.map((panel) => panel.shown.values), points), at: null };
}

function joinWords(words, newest) {
  return { ...newest, which: joinArrays(words.map((each) => each.which)), values: joinArrays(words.map((each) => each.values)) };
}

/**
 * The first step that the page should send next; null for none. Steps after those held are asked for when the end comes
 * near; steps before them when the beginning does, and in a pause while there is room.
 * @param {any} scene the joined scene
 * @param {{step: number, playing: boolean}} playback
 * @param {number} chunkSteps steps of a chunk
 */
export function lackingStep(scene, { step, playing }, chunkSteps) {
  const { first, last, ahead, kept } = scene.live;
  if (scene.steps - 1 - step < ahead && !last) return first + scene.steps;
  if (first > 0 && (step < NEAR || (!playing && scene.steps + chunkSteps <= kept))) return first - 1;
  return null;
}
