// Written by `python -m explainers.player.types` from explainers/drawing and Options; tests compare them.

/** The place of an array in the header's table of arrays. */
export interface ArrayPlace {
  array: number;
}

export type Hue = "query" | "key" | "value" | "score" | "output" | "parameter" | "gradient" | "optimizer" | "activation" | "current" | "muted" | "good" | "bad";

export interface PanelKinds {
  matrix: Matrix;
  marks: Marks;
  lines: Lines;
  bands: Bands;
  strip: Strip;
  cells: Cells;
  code: Code;
  text: Text;
}

export type Panel = PanelKinds[keyof PanelKinds];

/** Panels side by side under one title. weights: their shares of the width, equal when left out. */
export interface Row {
  panels: Panel[];
  weights: number[];
  title: string;
  subtitle: string;
}

/** Panels and rows of panels from top to bottom. weight: the column's share of the width. */
export interface Column {
  weight: number;
  panels: (Panel | Row)[];
}

/** One sentence a step, with the live numbers in it. */
export interface Words {
  sentences: string[];
  which: ArrayPlace;
  values: ArrayPlace;
  formulas: string[];
}

/** Makes a scene one chunk of a run that goes on: the player joins it to the chunks that it holds. */
export interface Live {
  lineage: string;
  changes: [number, string][];
  first: number;
  ahead: number;
  kept: number;
  last: boolean;
}

/** A whole run, ready to be played. */
export interface Scene {
  name: string;
  title: string;
  steps: number;
  columns: Column[];
  words: Words;
  stops: number[];
  start: number;
  reopens: boolean;
  rate: number;
  symbols: Record<string, string>;
  step_name: string;
  below: Column[];
  live: Live | null;
}

/** What a click on a panel asks of the page: an event (panel, index, action). */
export interface Action {
  name: string;
  hint: string;
}

/** Rows of numbers and the row that each step shows. */
export interface Track {
  values: ArrayPlace;
  at: ArrayPlace | null;
}

/** A large flat array that changes a little at each step. */
export interface Patches {
  keyframes: ArrayPlace;
  starts: ArrayPlace;
  positions: ArrayPlace;
  values: ArrayPlace;
}

/** The tiling of a matrix. */
export interface Tiles {
  block: [number, number];
  visited_at: ArrayPlace;
  current: ArrayPlace;
}

/** A row of labelled tiles along a side of a matrix (Q0, Q1, ... on the left), lit where the current tile is. */
export interface Band {
  side: "left" | "top";
  label: string;
  hue: Hue;
}

/** A matrix of values as coloured cells, with tiles on it. */
export interface Matrix {
  kind: "matrix";
  name: string;
  title: string;
  subtitle: string;
  height: number;
  action: Action | null;
  shape: [number, number];
  values: ArrayPlace | Track | Patches;
  scale: "sequential" | "diverging";
  low: number;
  high: number;
  limits: Track | null;
  hue: Hue;
  tiles: Tiles | null;
  bands: Band[];
  reveal: boolean;
  pinned: Track | null;
  pinned_label: string;
  rows: Track | null;
  row_name: string;
  column_name: string;
  cell: "stretch" | "square";
}

/** The data range of one direction. flip: the first value at the top, as in a matrix. ticks: values to label. */
export interface Axis {
  low: number;
  high: number;
  log: boolean;
  flip: boolean;
  label: string;
  ticks: number[];
  format: string;
}

/** Marks of one kind in data coordinates; NaN hides a mark. */
export interface Layer {
  mark: "point" | "segment" | "rect" | "arrow" | "label";
  x: ArrayPlace | Track;
  y: ArrayPlace | Track;
  x2: ArrayPlace | Track | null;
  y2: ArrayPlace | Track | null;
  hue: Hue;
  style: "solid" | "hollow" | "hatched" | "faint";
  size: number;
  numbers: ArrayPlace | Track | null;
  format: string;
  names: string[];
  anchor: "left" | "middle" | "right";
  shown: Track | null;
}

/** Points, segments, rectangles, arrows and labels in data coordinates: dumbbells, wiring, bars, memory maps. */
export interface Marks {
  kind: "marks";
  name: string;
  title: string;
  subtitle: string;
  height: number;
  action: Action | null;
  x: Axis;
  y: Axis;
  layers: Layer[];
  highlight: Track | null;
  readout: Track | null;
  readout_format: string;
  frame: boolean;
  row_name: string;
}

/** One curve: x, y (points,); NaN breaks it. label: at its end and in the hover. */
export interface Line {
  x: ArrayPlace;
  y: ArrayPlace;
  hue: Hue;
  label: string;
  dashed: boolean;
}

/** What lies between two curves (quantiles): x, low, high (points,); from the first NaN on it is left out. */
export interface Area {
  x: ArrayPlace;
  low: ArrayPlace;
  high: ArrayPlace;
  hue: Hue;
}

/** Curves that grow with the steps. shown: a Track of one number, how many points of each curve are drawn so far. */
export interface Lines {
  kind: "lines";
  name: string;
  title: string;
  subtitle: string;
  height: number;
  action: Action | null;
  x: Axis;
  y: Axis;
  lines: Line[];
  areas: Area[];
  shown: Track | null;
  ahead: boolean;
  marks: number[];
}

/** Quantities stacked over the steps: memory by what it holds. What lies after the current step is drawn faint. */
export interface Bands {
  kind: "bands";
  name: string;
  title: string;
  subtitle: string;
  height: number;
  action: Action | null;
  values: ArrayPlace;
  names: string[];
  hues: Hue[];
  styles: ("solid" | "hatched" | "hollow")[];
  lines: Line[];
  marked: number;
  highest: number;
  format: string;
  step_label: string;
}

/** Packs as rows of coloured runs of tokens. Rows that do not fit scroll, so that the current one is in sight. */
export interface Strip {
  kind: "strip";
  name: string;
  title: string;
  subtitle: string;
  height: number;
  action: Action | null;
  rows: number;
  capacity: number;
  row: ArrayPlace;
  start: ArrayPlace;
  length: ArrayPlace;
  hue: ArrayPlace;
  appears: ArrayPlace;
  leaves: ArrayPlace;
  texts: string[];
  notes: string[];
  row_names: string[];
  closes: ArrayPlace | null;
  limit: number;
  ruler: [number, string][];
}

/** A labelled arrow from one cell of a grid world to another (a jump). */
export interface Arrow {
  cell: number;
  to: number;
  label: string;
}

/** A grid world seen from above, its cells numbered row by row. */
export interface Cells {
  kind: "cells";
  name: string;
  title: string;
  subtitle: string;
  height: number;
  action: Action | null;
  shape: [number, number];
  kinds: ArrayPlace | Track;
  start: number | Track;
  directions: [number, number][];
  values: ArrayPlace | Track | Patches | null;
  q: ArrayPlace | Track | Patches | null;
  limit: number | Track;
  policy: ArrayPlace | Track | Patches | null;
  epsilon: Track | null;
  first_best: boolean;
  agent: Track | null;
  flash: Track | null;
  flash_names: string[];
  format: string;
  trail: number;
  wind: number[];
  arrows: Arrow[];
  decimals: number;
  paint: boolean;
  told: Track | null;
}

/** Source code with the line on which the algorithm paused. */
export interface Code {
  kind: "code";
  name: string;
  title: string;
  subtitle: string;
  height: number;
  action: Action | null;
  source: string;
  first_line: number;
  line: Track | null;
}

/** Words beside the picture: as `Words`, in a panel of their own. */
export interface Text {
  kind: "text";
  name: string;
  title: string;
  subtitle: string;
  height: number;
  action: Action | null;
  words: Words;
}

/** How the player shows a scene. */
export interface Options {
  address: string;
  mode: "full" | "card";
  opening: number;
  serves: boolean;
  paints: boolean;
  resumes: number | null;
  plays: boolean;
}
