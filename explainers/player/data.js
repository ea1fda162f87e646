// The blob that Python sends (explainers/drawing/scene.py): decoded once, then read step by step.

/** @import { Decoded, Header, Numbers, Options, Patches, Reader, Scene, Track } from "./types.d.ts" */

export const SCENE_VERSION = 1;

/**
 * Blob -> {options, scene}. Every array of the scene becomes {data: typed array, shape}. Throws on another version.
 * @param {Uint8Array} bytes
 * @returns {{options: Options, scene: Scene}}
 */
export function decodeBlob(bytes) {
  // A Uint8Array may start at any offset of its buffer; typed arrays need multiples of 4, so copy first.
  const buffer = bytes.slice().buffer;
  const view = new DataView(buffer);
  const utf8 = new TextDecoder();
  const optionsLength = view.getUint32(0, true);
  /** @type {Options} */
  const options = JSON.parse(utf8.decode(new Uint8Array(buffer, 4, optionsLength)));
  const start = Math.ceil((4 + optionsLength) / 8) * 8;
  const magic = utf8.decode(new Uint8Array(buffer, start, 4));
  const version = view.getUint32(start + 4, true);
  if (magic !== "LNTN" || version !== SCENE_VERSION) throw new Error(`not a scene of version ${SCENE_VERSION}`);
  const headerLength = view.getUint32(start + 8, true);
  /** @type {Header} */
  const header = JSON.parse(utf8.decode(new Uint8Array(buffer, start + 12, headerLength)));
  const types = { float32: Float32Array, int32: Int32Array, uint8: Uint8Array };
  const arrays = header.arrays.map(({ type, shape, offset }) => {
    const size = shape.reduce((product, side) => product * side, 1);
    return { data: new types[type](buffer, start + 12 + headerLength + offset, size), shape };
  });
  return { options, scene: withArrays(header.scene, arrays) };
}

/**
 * A packed value with its arrays in it.
 * @template Packed
 * @overload
 * @param {Packed} value
 * @param {Numbers[]} arrays
 * @returns {Decoded<Packed>}
 */
/** @param {unknown} value @param {Numbers[]} arrays @returns {unknown} */
function withArrays(value, arrays) {
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map((item) => withArrays(item, arrays));
  if ("array" in value && typeof value.array === "number") return arrays[value.array];
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, withArrays(item, arrays)]));
}

/**
 * A constant array, a Track or Patches -> a function from a step to the numbers of that step.
 * @overload
 * @param {Numbers | Track | Patches} source
 * @returns {Reader}
 */
/**
 * @overload
 * @param {Numbers | Track | Patches | null | undefined} source
 * @returns {Reader | null}
 */
/** @param {Numbers | Track | Patches | null | undefined} source @returns {Reader | null} */
export function reader(source) {
  if (source === null || source === undefined) return null;
  if ("keyframes" in source) return patchReader(source);
  if ("data" in source) return () => source.data;
  const { values: { data, shape }, at } = source;
  const width = shape.slice(1).reduce((product, side) => product * side, 1);
  const last = shape[0] - 1;
  return (step) => {
    const row = at ? at.data[step] : Math.min(step, last);
    return data.subarray(row * width, (row + 1) * width);
  };
}

export const KEYFRAME_EVERY = 64;

/** @param {Patches} source @returns {Reader} */
function patchReader({ keyframes, starts, positions, values }) {
  const size = keyframes.shape[1];
  const state = new Float32Array(size);
  let at = -1;
  return (step) => {
    if (at < 0 || step < at || step - at > KEYFRAME_EVERY) {
      const frame = Math.floor(step / KEYFRAME_EVERY);
      state.set(keyframes.data.subarray(frame * size, (frame + 1) * size));
      at = frame * KEYFRAME_EVERY;
    }
    while (at < step) {
      at += 1;
      for (let k = starts.data[at]; k < starts.data[at + 1]; k++) state[positions.data[k]] = values.data[k];
    }
    return state;
  };
}
