// The blob that Python sends (explainers/drawing/scene.py): decoded once, then read step by step.

const SCENE_VERSION = 1;

/** Blob -> {options, scene}. Every array of the scene becomes {data: typed array, shape}. Throws on another version. */
function decodeBlob(bytes) {
  // A Uint8Array may start at any offset of its buffer; typed arrays need multiples of 4, so copy first.
  const buffer = bytes.slice().buffer;
  const view = new DataView(buffer);
  const utf8 = new TextDecoder();
  const optionsLength = view.getUint32(0, true);
  const options = JSON.parse(utf8.decode(new Uint8Array(buffer, 4, optionsLength)));
  const start = Math.ceil((4 + optionsLength) / 8) * 8;
  const magic = utf8.decode(new Uint8Array(buffer, start, 4));
  const version = view.getUint32(start + 4, true);
  if (magic !== "LNTN" || version !== SCENE_VERSION) throw new Error(`not a scene of version ${SCENE_VERSION}`);
  const headerLength = view.getUint32(start + 8, true);
  const header = JSON.parse(utf8.decode(new Uint8Array(buffer, start + 12, headerLength)));
  const types = { float32: Float32Array, int32: Int32Array, uint8: Uint8Array };
  const arrays = header.arrays.map(({ type, shape, offset }) => {
    const size = shape.reduce((product, side) => product * side, 1);
    return { data: new types[type](buffer, start + 12 + headerLength + offset, size), shape };
  });
  return { options, scene: withArrays(header.scene, arrays) };
}

function withArrays(value, arrays) {
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map((item) => withArrays(item, arrays));
  if (typeof value.array === "number") return arrays[value.array];
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, withArrays(item, arrays)]));
}

/** A constant array, a Track or Patches -> a function from a step to the numbers of that step. */
function reader(source) {
  if (source === null || source === undefined) return null;
  if (source.keyframes) return patchReader(source);
  if (source.data) return () => source.data;
  const { data, shape } = source.values;
  const width = shape.slice(1).reduce((product, side) => product * side, 1);
  const last = shape[0] - 1;
  return (step) => {
    const row = source.at ? source.at.data[step] : Math.min(step, last);
    return data.subarray(row * width, (row + 1) * width);
  };
}

const KEYFRAME_EVERY = 64;

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

/**
 * A number in the format of a template: d, .2f, .2e, .3g; bytes (42.9 GB), ibytes (40 GiB), allbytes (both);
 * "(" before it puts a negative one in brackets.
 */
function formatNumber(value, format) {
  if (format.startsWith("(")) {
    const text = formatNumber(value, format.slice(1));
    return value < 0 ? `(${text})` : text;
  }
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  return withMinus(formatFinite(value, format));
}

function formatFinite(value, format) {
  if (format === "bytes") return formatBytes(value, 1000, ["B", "kB", "MB", "GB", "TB", "PB"]);
  if (format === "ibytes") return formatBytes(value, 1024, ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]);
  if (format === "allbytes") return value < 999.5 ? formatFinite(value, "bytes") : `${formatFinite(value, "bytes")} · ${formatFinite(value, "ibytes")}`;
  if (format === "d") return Math.round(value).toLocaleString("en-US");
  const digits = Number(format.slice(1, -1));
  if (format.endsWith("e")) return value.toExponential(digits);
  if (format.endsWith("f")) return value.toFixed(digits);
  const size = Math.abs(value);
  if (value !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(Math.max(0, digits - 1));
  return String(Number(value.toPrecision(digits)));
}

function formatBytes(value, step, units) {
  let power = 0;
  while (value >= step - 0.5 && power < units.length - 1) {
    value /= step;
    power += 1;
  }
  return `${power === 0 ? Math.round(value) : Number(value.toPrecision(value >= 1000 ? 4 : 3))} ${units[power]}`;
}

/** A real minus sign; none before a number that rounds to zero. */
const withMinus = (text) => text.replace(/^-(0(\.0+)?)$/, "$1").replace(/-/g, "−");

/** Text nodes under `root` with {column:format} in them -> a function that writes a step's numbers there. */
function liveNumbers(root) {
  const nodes = [];
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const pieces = node.nodeValue.split(/\{(\d+):([^}]+)\}/);
    if (pieces.length > 1) nodes.push([node, pieces]);
  }
  return (values) => {
    for (const [node, pieces] of nodes) {
      let text = pieces[0];
      for (let k = 1; k < pieces.length; k += 3) {
        text += formatNumber(values[Number(pieces[k])], pieces[k + 1]) + pieces[k + 2];
      }
      node.nodeValue = text;
    }
  };
}
