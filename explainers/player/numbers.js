// Numbers as a reader sees them.

/**
 * A number in the format of a template: d, .2f, .2e, .3g; bytes (42.9 GB), ibytes (40 GiB), allbytes (both);
 * "(" before it puts a negative one in brackets.
 * @param {number} value
 * @param {string} format
 * @returns {string}
 */
export function formatNumber(value, format) {
  if (format.startsWith("(")) {
    const text = formatNumber(value, format.slice(1));
    return value < 0 ? `(${text})` : text;
  }
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  return withMinus(formatFinite(value, format));
}

/** @param {number} value @param {string} format @returns {string} */
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

/** @param {number} value @param {number} step @param {string[]} units @returns {string} */
function formatBytes(value, step, units) {
  let power = 0;
  while (value >= step - 0.5 && power < units.length - 1) {
    value /= step;
    power += 1;
  }
  return `${power === 0 ? Math.round(value) : Number(value.toPrecision(value >= 1000 ? 4 : 3))} ${units[power]}`;
}

/** A real minus sign; none before a number that rounds to zero. @param {string} text */
const withMinus = (text) => text.replace(/^-(0(\.0+)?)$/, "$1").replace(/-/g, "−");
