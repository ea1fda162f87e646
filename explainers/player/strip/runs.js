// Which runs of tokens of a strip (scene.Strip) belong together.

/**
 * (rows,) the step at which the first run of each row is there. A row without runs is never drawn: it only keeps rows as
 * high as in a panel beside it that has more.
 * @param {number} rows
 * @param {ArrayLike<number>} row of each run
 * @param {ArrayLike<number>} appears the step of each run
 */
export function openings(rows, row, appears) {
  /** @type {number[]} */
  const first = new Array(rows).fill(Infinity);
  for (let k = 0; k < row.length; k++) first[row[k]] = Math.min(first[row[k]], appears[k]);
  return first;
}

/**
 * (runs,) true for every second document of a row, which gets an outline: neighbours differ without colour too. Runs of
 * one document side by side, such as its tokens, are alike.
 * @param {number} rows
 * @param {{row: ArrayLike<number>, start: ArrayLike<number>, hue: ArrayLike<number>}} runs
 */
export function alternation(rows, { row, start, hue }) {
  /** @type {boolean[]} */
  const second = new Array(row.length).fill(false);
  /** @type {number[]} the run before, in each row */
  const before = new Array(rows).fill(-1);
  const documents = [...Array(row.length).keys()].filter((k) => hue[k] >= 0).sort((a, b) => start[a] - start[b]);
  for (const k of documents) {
    const neighbour = before[row[k]];
    if (neighbour >= 0) second[k] = second[neighbour] !== (hue[k] !== hue[neighbour]);
    before[row[k]] = k;
  }
  return second;
}

/**
 * Runs that came together: the first and last of those that lie side by side in a row.
 * @param {number[]} arrived
 * @param {{row: ArrayLike<number>, start: ArrayLike<number>, length: ArrayLike<number>}} runs
 */
export function hulls(arrived, { row, start, length }) {
  /** @type {[first: number, last: number][]} */
  const found = [];
  for (const k of [...arrived].sort((a, b) => row[a] - row[b] || start[a] - start[b])) {
    const hull = found.at(-1);
    const touches = hull && row[hull[1]] === row[k] && start[hull[1]] + length[hull[1]] === start[k];
    if (touches) hull[1] = k;
    else found.push([k, k]);
  }
  return found;
}
