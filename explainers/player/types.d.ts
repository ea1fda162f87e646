// What the player's modules hand to one another, as types. What Python sends is in scene.d.ts.

import type { addressOf } from "./address.js";
import type { readTheme } from "./drawing.js";
import type { fullScreenOf } from "./fullscreen.js";
import type { gridOf } from "./grid/grid.js";
import type { Meaning } from "./keys.js";
import type { Playback } from "./playback.js";
import type * as packed from "./scene.d.ts";
import type { tipOf } from "./tip.js";
import type { transportOf } from "./transport.js";
import type { wordsElement } from "./words.js";

// ---------------------------------------------------------------------------------------- what is decoded

export type { Action, Axis, Band, Hue, Live, Options } from "./scene.d.ts";
export type Kind = keyof packed.PanelKinds;

/** The JSON header of a scene. */
export interface Header {
  scene: packed.Scene;
  arrays: { type: "float32" | "int32" | "uint8"; shape: number[]; offset: number }[];
}

export type NumberArray = Float32Array | Int32Array | Uint8Array;

/** An array of the blob; its shape as in NumPy. */
export interface Numbers {
  data: NumberArray;
  shape: number[];
}

/** What a packed value is in the player: with arrays in place of their places. */
export type Decoded<Packed> = Packed extends packed.ArrayPlace
  ? Numbers
  : Packed extends object
    ? { [Key in keyof Packed]: Decoded<Packed[Key]> }
    : Packed;

export type Scene = Decoded<packed.Scene>;
export type LiveScene = Scene & { live: packed.Live };
export type Column = Decoded<packed.Column>;
export type Row = Decoded<packed.Row>;
export type Words = Decoded<packed.Words>;
export type Track = Decoded<packed.Track>;
export type Patches = Decoded<packed.Patches>;
export type Tiles = Decoded<packed.Tiles>;
export type Layer = Decoded<packed.Layer>;
export type Line = Decoded<packed.Line>;
export type Area = Decoded<packed.Area>;
export type Lines = Decoded<packed.Lines>;
export type Cells = Decoded<packed.Cells>;
export type Specs = { [Key in Kind]: Decoded<packed.PanelKinds[Key]> };
export type Spec = Specs[Kind];

/** The numbers of a step. */
export type Reader = (step: number) => NumberArray;

// ------------------------------------------------------------------------------------------------- panels

export type Context = CanvasRenderingContext2D;
export type Theme = ReturnType<typeof readTheme>;
export type Grid = ReturnType<typeof gridOf>;
export type Point = [x: number, y: number];
/** A colour as red, green and blue, from 0 to 255. */
export type Colour = number[];
export type Rectangle = [x: number, y: number, width: number, height: number];

/** The step, the one before it, and how far (0 to 1) marks are on their way between them. */
export interface State {
  step: number;
  previous: number;
  mix: number;
}

/** What the hover says of a place, and the index that an event gives of it. */
export interface Hit {
  text: string;
  index: number[];
}

/** A panel on a canvas. */
export interface CanvasDrawing {
  /** Finds its places in a width and in at most `room` px of height; Infinity: as high as it likes. Returns its height. */
  layout(width: number, room: number): number;
  /** The width in px that it makes use of, if it keeps its cells square. */
  used?(): number;
  draw(context: Context, theme: Theme, state: State): void;
  hit(x: number, y: number, state: State): Hit | null;
  describe(state: State): string;
  cells?: CellsAsked;
}

/** What a drag or a click on cells asks a grid world for. */
export interface CellsAsked {
  paint: boolean;
  /** The cells that a drag has crossed so far; null where there is none. */
  painting: Set<number> | null;
  /** The cell at a place; -1 for none. */
  at(x: number, y: number): number;
  /** The last step up to this one whose words are about a cell, else the next; -1 for none. */
  stepOf: ((cell: number, step: number, steps: number) => number) | null;
}

/** A panel in the document. */
export interface ElementDrawing {
  element: HTMLElement;
  /** Takes a height in px, Infinity: its own. Returns it. */
  resize?(room: number): number;
  update(state: State): void;
  describe(state: State): string;
}

export interface Tools {
  /** Gives the symbols of a formula their meaning. */
  explainSymbols(formula: Element): void;
}

export type Create<Of extends Kind = Kind> = (spec: Specs[Of], tools: Tools) => CanvasDrawing | ElementDrawing;

/** A panel with its canvas, as large as it is drawn. */
export type CanvasPanel = CanvasDrawing & { spec: Spec; canvas: HTMLCanvasElement; width: number; height: number };
export type MountedPanel = CanvasPanel | (ElementDrawing & { spec: Spec });

// --------------------------------------------------------------------------------------------- the player

/** What is around the player. */
export interface Page {
  /** Receives clicks on the picture. */
  onEvent: (event: { panel: string; index: number[]; action: string }) => void;
  /** Of a live run: the step on the screen, whenever the reader touches a control of the page. */
  onStep: (step: number) => void;
  /** The element that holds the page, null if there is only the player. */
  site: Element | null;
  /** Follows the link of the box around a card. */
  follow: () => void;
}

/** What a loaded scene puts on the screen. */
export interface Shown {
  scene: Scene;
  options: packed.Options;
  words: ReturnType<typeof wordsElement>;
  transport: ReturnType<typeof transportOf>;
  theme: Theme;
}

/** The element of a player, with what tests and the benchmark read. */
export type PlayerElement = HTMLElement & {
  lantern?: { step: number; first: number; steps: number; playing: boolean; drawTimes: number[] };
};

export type FullScreen = ReturnType<typeof fullScreenOf>;

/** What the parts of a player share. */
export interface Player {
  root: PlayerElement;
  playback: Playback;
  /** null before the first scene. */
  shown: Shown | null;
  panels: MountedPanel[];
  /** How much larger everything is on a full screen. */
  zoom: number;
  /** Whether the reader wants the code beside the picture; null: where there is room. */
  codeBeside: boolean | null;
  /** Whether the reader asked for no motion. */
  still: MediaQueryList;
  tip: ReturnType<typeof tipOf>;
  address: ReturnType<typeof addressOf>;
  isCard(): boolean;
  themeChanged(): boolean;
  redraw(): void;
  redrawSoon(): void;
  wake(): void;
  play(): void;
  pause(): void;
  go(step: number): void;
  goTo(step: number): void;
  act(meaning: Meaning): void;
  send(panel: CanvasPanel, index: number[] | undefined): void;
  reportStep(): void;
  followAddress(): void;
}

/** What Streamlit hands to a component of its second version. */
export interface Component<Data> {
  data: Data;
  parentElement: HTMLElement | ShadowRoot;
  setStateValue(name: string, value: unknown): void;
  setTriggerValue(name: string, value: unknown): void;
}
