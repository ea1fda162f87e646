// The player: a scene with its panels, words and controls. Here its parts are put together; panels draw themselves.

import { addressOf } from "./address.js";
import { decodeBlob } from "./data.js";
import { readTheme } from "./drawing.js";
import { find, make } from "./elements.js";
import { connect } from "./events.js";
import { framesOf } from "./frames.js";
import { fullScreenOf } from "./fullscreen.js";
import { makeActiveIfNone } from "./keys.js";
import { isLive, lackingStep, liveRun } from "./live.js";
import { savePicture } from "./picture.js";
import { openingStep, Playback, stopAfter } from "./playback.js";
import { sightOf } from "./sight.js";
import { columnsElement, unfoldElement } from "./stage.js";
import { tipOf } from "./tip.js";
import { transportOf } from "./transport.js";
import { explainSymbols, wordsElement } from "./words.js";

/** @import { Meaning } from "./keys.js" */
/** @import { CanvasPanel, Options, Page, Player, PlayerElement, Scene, Shown, Tools } from "./types.d.ts" */

const A_RUN = 1000; // milliseconds that the page takes to run; two runs asked for at once can leave Streamlit's browser side waiting
const OUT_OF_SIGHT = 8; // px of the picture that the dock may hide

/** @type {Map<string, {name: string, opening: number, step: number}>} by the place of the step in the address: where a reader left a picture for another */
const leftAt = new Map();

/** A player in `host`. @param {HTMLElement | ShadowRoot} host @param {Page} page what is around the player */
export function mountPlayer(host, { onEvent, onStep, site, follow }) {
  /** @type {PlayerElement} */
  const root = make("div", { class: "player", tabindex: "-1", role: "group" });
  host.append(root);
  const playback = new Playback();
  const chunks = liveRun();
  const tip = tipOf(root, () => player.zoom);
  const address = addressOf({ name: () => player.shown?.options.address ?? "", step: shownStep, playing: () => playback.playing });
  /** @type {Player} */
  const player = {
    root, playback, tip, address, shown: null, panels: [], zoom: 1, codeBeside: null,
    still: window.matchMedia("(prefers-reduced-motion: reduce)"),
    isCard: () => player.shown?.options.mode === "card",
    themeChanged: () => player.shown !== null && readTheme(root).key !== player.shown.theme.key,
    redraw: () => frames.redraw(), redrawSoon: () => frames.redrawSoon(), wake: () => frames.wake(),
    play, pause, go, goTo, act, send, reportStep, followAddress,
  };
  const frames = framesOf(player, origin, askForMore);
  const fullScreen = fullScreenOf(player, site);
  const sight = sightOf(player);
  let chunkSteps = 0; // of what came last
  let asked = false; // whether the page was asked for more steps
  let askFrom = 0; // the time before which it is not asked
  let reportedStep = -1;

  /** The step of the whole run with which what the player holds begins. */
  function origin() {
    return player.shown?.scene.live?.first ?? 0;
  }

  function shownStep() {
    return origin() + playback.step;
  }

  // ------------------------------------------------------------------------------------------------ a scene

  /** @param {Uint8Array} bytes */
  function load(bytes) {
    const before = player.shown;
    const begun = origin();
    const { options, scene: sent } = decodeBlob(bytes);
    const scene = isLive(sent) ? chunks.add(sent) : sent;
    const goesOn = Boolean(scene.live && before?.scene.live?.lineage === scene.live.lineage);
    const reopened = before !== null && options.opening !== before.options.opening;
    const left = leftAt.get(options.address);
    chunkSteps = sent.steps;
    asked = false;
    player.shown = build(scene, options, goesOn ? before : null);
    showPlaying();
    /** @param {number | null} step */
    const within = (step) => (step === null ? null : step - origin());
    playback.open(rules(scene, options), openingStep({
      scene, before: before?.scene, step: playback.step, reopened, goesOn, moved: begun - origin(),
      wanted: within(address.read()), resumes: within(options.resumes),
      left: left?.name === scene.name && left?.opening === options.opening ? left.step : null,
    }));
    frames.redraw();
    if (before || playback.step !== scene.start) address.remember();
    if (fullScreen.isFull() && !goesOn) fullScreen.fit();
    if (reopened) comeIntoView();
    if (!player.isCard()) makeActiveIfNone(root);
    if (!before) sight.opened(options.plays);
  }

  /** How a scene is played. @param {Scene} scene @param {Options} options */
  function rules(scene, options) {
    const served = options.serves ? scene.live : null;
    return { steps: scene.steps, rate: scene.rate, loops: options.mode === "card" || options.plays, waits: served !== null && !served.last, restarts: served === null };
  }

  /**
   * Puts a scene on the screen.
   * @param {Scene} scene
   * @param {Options} options
   * @param {Shown | null} goesOn the live run that goes on: only its picture is new; its controls and the code below stay as they are
   * @returns {Shown}
   */
  function build(scene, options, goesOn) {
    /** @type {Tools} */
    const tools = { explainSymbols: (formula) => explainSymbols(formula, scene.symbols, tip) };
    const kept = goesOn ? player.panels.filter((panel) => find(root, ".below").contains("canvas" in panel ? panel.canvas : panel.element)) : [];
    player.panels = [];
    root.setAttribute("aria-label", `${scene.title}, ${scene.steps} steps`);
    root.classList.toggle("card", options.mode === "card");
    root.classList.toggle("alone", options.plays);
    const stage = columnsElement(scene.columns, "stage", player, tools);
    const words = wordsElement(scene.words, tools);
    if (goesOn) {
      find(root, ".stage").replaceWith(stage);
      goesOn.words.element.replaceWith(words.element);
      player.panels.push(...kept);
      return { ...goesOn, scene, options, words };
    }
    const below = columnsElement(scene.below, "stage below", player, tools);
    const nextStop = () => goTo(stopAfter(player.shown?.scene.stops ?? [], playback.step, playback.steps - 1));
    const transport = transportOf(scene, playback, { goTo, nextStop, toggle, fill: fullScreen.toggle, save: () => savePicture(player) });
    const dock = make("div", { class: "dock" }, words.element, transport.element);
    root.replaceChildren(make("div", { class: "frame" }, stage, dock), unfoldElement(scene, player), below, tip.element);
    return { scene, options, words, transport, theme: readTheme(root) };
  }

  /** After a button far from the picture: the picture, unless most of it is in sight. @param {number} most of the window above it */
  function comeIntoView(most = 0.5) {
    const { top } = root.getBoundingClientRect();
    if (top < 0 || top > most * window.innerHeight) root.scrollIntoView({ block: "start", behavior: player.still.matches ? "auto" : "smooth" });
  }

  /** Asks the page, once, for steps of a live run that will soon be needed. @param {number} now */
  function askForMore(now) {
    if (!player.shown || asked || now < askFrom) return;
    const { scene, options } = player.shown;
    const lacking = options.serves && isLive(scene) ? lackingStep(scene, playback, chunkSteps) : null;
    if (lacking === null) return;
    asked = true;
    onEvent({ panel: "player", index: [lacking], action: "more" });
  }

  // ---------------------------------------------------------------------------------------- what a reader does

  /** @param {number} to */
  function go(to) {
    if (!playback.go(to, performance.now())) return;
    tip.hide();
    frames.wake();
    if (!playback.playing) address.remember();
  }

  /** @param {number} step */
  function goTo(step) {
    pause();
    go(step);
  }

  function play() {
    playback.play(performance.now());
    showPlaying();
    frames.wake();
  }

  function pause() {
    if (!playback.pause()) return;
    showPlaying();
    address.remember();
  }

  /** While it plays, screen readers are not given every sentence. */
  function showPlaying() {
    player.shown?.words.live.setAttribute("aria-live", playback.playing ? "off" : "polite");
    player.shown?.transport.showPlaying();
  }

  function toggle() {
    if (playback.playing) return pause();
    play();
    const [stage, dock] = [find(root, ".stage").getBoundingClientRect(), find(root, ".dock").getBoundingClientRect()];
    if (stage.bottom - dock.top > OUT_OF_SIGHT && !fullScreen.isFull()) comeIntoView(0);
  }

  /** @param {Meaning} meaning of a key */
  function act(meaning) {
    if (meaning === "play") return toggle();
    pause();
    if (meaning === "picture") savePicture(player);
    else if (meaning === "screen") fullScreen.toggle();
    else if (meaning === "code") turnCode();
    else go(meaning);
  }

  /** Puts the code beside the picture, or below it. */
  function turnCode() {
    player.codeBeside = root.classList.toggle("beside");
    player.redrawSoon();
  }

  /** @param {CanvasPanel} panel @param {number[] | undefined} index */
  function send({ spec }, index) {
    if (!index?.length || !spec.action) return;
    reportStep();
    onEvent({ panel: spec.name, index, action: spec.action.name });
  }

  /** Reports which step of a live run is on the screen: a change of a control holds from there on. */
  function reportStep() {
    if (!player.shown?.scene.live || reportedStep === shownStep()) return;
    reportedStep = shownStep();
    onStep(reportedStep);
  }

  /** After a step through the browser's history, on which the page runs again and sends what is needed. */
  function followAddress() {
    const wanted = address.read();
    askFrom = performance.now() + A_RUN;
    if (player.shown?.scene.live) setTimeout(frames.wake, A_RUN);
    if (wanted !== null && !playback.playing) go(wanted - origin());
  }

  // --------------------------------------------------------------------------------------------------- life

  const disconnect = connect(player, fullScreen, follow);

  function destroy() {
    frames.stop();
    sight.stop();
    address.forget();
    disconnect();
    const { shown } = player;
    if (shown && !shown.scene.live) leftAt.set(shown.options.address, { name: shown.scene.name, opening: shown.options.opening, step: playback.step });
    root.remove();
  }

  // What tests and the benchmark read.
  root.lantern = {
    get step() { return shownStep(); },
    get first() { return origin(); },
    get steps() { return player.shown?.scene.steps ?? 0; },
    get playing() { return playback.playing; },
    drawTimes: frames.drawTimes,
  };
  return { load, destroy };
}
