// The buttons, the scrub bar and the speed of a player.

import { icon, make } from "./elements.js";

/** @import { Playback } from "./playback.js" */
/** @import { Scene } from "./types.d.ts" */

const SPEEDS = [0.25, 0.5, 1, 2, 4, 8, 16];
const LIVE_SPEEDS = [0.5, 1, 2, 4, 16, 64, 256];
const MOST_TICKS = 64; // stops that the scrub bar marks
const LATE = 1000; // milliseconds of waiting after which the count says so

/**
 * The controls of a player. The functions do what the buttons say.
 * @param {Scene} scene
 * @param {Playback} playback
 * @param {{goTo: (step: number) => void, nextStop: () => void, toggle: () => void, fill: () => void, save: () => void}} act
 */
export function transportOf(scene, playback, act) {
  const scrub = make("input", { type: "range", min: 0, max: scene.steps - 1, step: 1, "aria-label": "Step" });
  scrub.addEventListener("input", () => act.goTo(Number(scrub.value)));
  const count = make("span", { class: "count" });
  const play = button("play", "Play", "Space", act.toggle);
  const screen = button("screen", "Fill the screen", "F", act.fill);
  const element = make("div", { class: "controls" },
    button("first", "First step", "Home", () => act.goTo(0)),
    button("back", "One step back", "Left", () => act.goTo(playback.step - 1)),
    play,
    button("forward", "One step forward", "Right", () => act.goTo(playback.step + 1)),
    button("last", "Last step", "End", () => act.goTo(playback.steps - 1)),
    ...(scene.live ? [button("episode", "To the end of the episode", "Down", act.nextStop)] : []),
    make("div", { class: "scrub" }, ticksElement(scene), scrub),
    count,
    speedElement(scene, playback),
    screen,
    button("picture", "Save a PNG of this step", "S", act.save));
  return {
    element,
    /** Shows whether it plays. */
    showPlaying() {
      play.replaceChildren(icon(playback.playing ? "pause" : "play"));
      play.setAttribute("aria-label", playback.playing ? "Pause" : "Play");
    },
    /** Shows whether it fills the screen. @param {boolean} full */
    showFull(full) {
      const label = full ? "Leave the full screen" : "Fill the screen";
      screen.setAttribute("aria-label", label);
      screen.title = `${label} (F)`;
      screen.replaceChildren(icon(full ? "leave" : "screen"));
    },
    /** Shows the step. @param {string} text */
    showStep(text) {
      scrub.max = String(playback.steps - 1);
      scrub.value = String(playback.step);
      scrub.style.setProperty("--done", `${(100 * playback.step) / Math.max(1, playback.steps - 1)}%`);
      count.textContent = text;
    },
  };
}

/** @param {string} name @param {string} label @param {string} key @param {() => void} act */
function button(name, label, key, act) {
  const element = make("button", { type: "button", class: name, "aria-label": label, title: `${label} (${key})` }, icon(name));
  element.addEventListener("click", (event) => {
    act();
    if (event.detail > 0) element.blur(); // after a click of the mouse, Space plays
  });
  return element;
}

/** @param {Scene} scene */
function ticksElement({ steps, stops }) {
  const ticks = make("div", { class: "ticks", "aria-hidden": "true" });
  if (stops.length <= MOST_TICKS) {
    for (const stop of stops) ticks.append(make("i", { style: `left:${(100 * stop) / Math.max(1, steps - 1)}%` }));
  }
  return ticks;
}

/** @param {Scene} scene @param {Playback} playback */
function speedElement(scene, playback) {
  const speeds = scene.live ? LIVE_SPEEDS : SPEEDS;
  if (!speeds.includes(playback.speed)) playback.speed = 1;
  const choose = make("select", { "aria-label": "Speed", title: "Speed" });
  for (const value of speeds) choose.append(make("option", { value, ...(value === playback.speed ? { selected: "" } : {}) }, `${value}×`));
  choose.addEventListener("change", () => { playback.speed = Number(choose.value); });
  return choose;
}

/**
 * The step as the controls name it, "tile 3 of 40"; of a live run, what it does at its end.
 * @param {Scene} scene
 * @param {Playback} playback
 * @param {number} origin the step of the whole run with which the scene begins
 * @param {boolean} narrow
 * @param {number} now
 */
export function countText(scene, playback, origin, narrow, now) {
  const number = origin + playback.step + 1;
  if (!scene.live) return narrow ? `${number} / ${scene.steps}` : `${scene.step_name} ${number} of ${scene.steps}`;
  if (narrow) return number.toLocaleString("en-US");
  const late = playback.waitingSince > 0 && now - playback.waitingSince > LATE;
  const doing = late ? "computing" : scene.live.last && playback.atEnd ? "the last" : "still learning";
  return `${scene.step_name} ${number.toLocaleString("en-US")}, ${doing}`;
}
