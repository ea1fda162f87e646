// Which step is shown, and when the next one is due: a state machine that knows no document.

/** @import { Scene, State } from "./types.d.ts" */

const GLIDE = 160; // milliseconds that marks take from one step to the next
const FASTEST_GLIDE = 12; // steps a second: beyond, marks jump

/** The playback of a scene. Times are in milliseconds, as of performance.now(). */
export class Playback {
  constructor() {
    this.steps = 1;
    this.rate = 1; // steps a second at speed 1
    this.loops = false; // begins again after the last step
    this.waits = false; // more steps will come after the last one
    this.restarts = true; // playing at the last step begins with the first one
    this.step = 0;
    this.previous = 0;
    this.playing = false;
    this.speed = 1;
    this.waitingSince = 0; // for the next step of a live run; 0 while nothing is waited for
    this.changedAt = -1e9;
    this.clock = 0;
  }

  /** The step within the scene that is nearest to `step`. @param {number} step */
  within(step) {
    return Math.max(0, Math.min(this.steps - 1, step));
  }

  get atEnd() {
    return this.step >= this.steps - 1;
  }

  /**
   * Begins to show a scene, or a scene with more steps, at a step.
   * @param {{steps: number, rate: number, loops: boolean, waits: boolean, restarts: boolean}} scene
   * @param {number} step
   */
  open({ steps, rate, loops, waits, restarts }, step) {
    Object.assign(this, { steps, rate, loops, waits, restarts });
    this.step = this.previous = this.within(step);
  }

  /** Goes to a step; whether that is another one. @param {number} step @param {number} now */
  go(step, now) {
    const to = this.within(step);
    if (to === this.step) return false;
    this.previous = this.step;
    this.step = to;
    this.changedAt = now;
    return true;
  }

  /** Starts to play; from the first step if the last one is on the screen. @param {number} now */
  play(now) {
    if (this.atEnd && this.restarts) this.go(0, now);
    this.playing = true;
    this.clock = now;
  }

  /** Stops playing; whether it was playing. */
  pause() {
    const was = this.playing;
    this.playing = false;
    return was;
  }

  /**
   * Takes the steps that are due. Whether the last step is reached and playing has to end.
   * @param {number} now
   */
  advance(now) {
    const due = Math.floor(((now - this.clock) / 1000) * this.rate * this.speed);
    if (due < 1) return false;
    this.clock = now;
    if (this.atEnd && this.loops) this.go(0, now);
    else this.go(this.step + due, now);
    this.waitingSince = this.atEnd && this.waits ? this.waitingSince || now : 0;
    return this.atEnd && !this.loops && !this.waits;
  }

  /**
   * What panels draw: the step, the one before it, and how far (0 to 1) marks are on their way between them.
   * @param {number} now
   * @param {boolean} still the reader asked for no motion
   * @returns {State}
   */
  state(now, still) {
    const jumps = still || (this.playing && this.rate * this.speed > FASTEST_GLIDE);
    const share = jumps ? 1 : Math.min(1, (now - this.changedAt) / GLIDE);
    const mix = this.previous === this.step ? 1 : 1 - (1 - share) ** 3;
    return { step: this.step, previous: this.previous, mix };
  }
}

/** The last stop before a step; the first step where there is none. @param {number[]} stops @param {number} step */
export const stopBefore = (stops, step) => stops.filter((stop) => stop < step).at(-1) ?? 0;

/** The first stop after a step; the last step where there is none. @param {number[]} stops @param {number} step @param {number} last */
export const stopAfter = (stops, step, last) => stops.find((stop) => stop > step) ?? last;

/**
 * The step at which a scene opens.
 * @param {object} found
 * @param {Scene} found.scene the scene to show
 * @param {Scene | undefined} found.before the scene that was shown, undefined for none
 * @param {number} found.step the step that was shown of it
 * @param {boolean} found.reopened whether a button asked for the scene's own start
 * @param {boolean} found.goesOn whether the scene is the live run that was shown, with more steps
 * @param {number} found.moved by how many steps the beginning of the live run has moved
 * @param {number | null} found.wanted the step in the address
 * @param {number | null} found.resumes the step at which the page says a reader comes back
 * @param {number | null} found.left the step at which the reader left the same picture earlier
 */
export function openingStep({ scene, before, step, reopened, goesOn, moved, wanted, resumes, left }) {
  if (goesOn && !reopened) return step + moved;
  if (wanted !== null) return wanted;
  if (!before && resumes !== null) return resumes;
  if (!before && left !== null) return left;
  if (!before || scene.live || reopened || (scene.reopens && scene.start !== before.start)) return scene.start;
  return step === before.steps - 1 ? scene.steps - 1 : step;
}
