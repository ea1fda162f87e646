// Reads what tests/player/fixtures.py wrote; the folder is in the variable LANTERN_FIXTURES.

import { readFileSync } from "node:fs";
import { join } from "node:path";

const path = (name) => join(process.env.LANTERN_FIXTURES, name);

export const bytesOf = (name) => new Uint8Array(readFileSync(path(name)));
export const jsonOf = (name) => JSON.parse(readFileSync(path(name), "utf8"));

/** Numbers as a list in which NaN is null, as JSON writes them. */
export const plain = (numbers) => Array.from(numbers, (number) => (Number.isNaN(number) ? null : number));
