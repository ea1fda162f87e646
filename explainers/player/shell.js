// The player: a scene with its panels, words and controls. Here its parts are put together; panels draw themselves.

import { addressOf } from "./address.js";
import { decodeBlob } from "./data.js";
import { readTheme, sizeCanvas } from "./drawing.js";
import { make } from "./elements.js";
import { connect } from "./events.js";
import { fullScreenOf } from "./fullscreen.js";
import { lackingStep, liveRun } from "./live.js";
import { savePicture } from "./picture.js";
import { openingStep, Playback, stopAfter } from "./playback.js";
import { columnsElement } from "./stage.js";
import { tipOf } from "./tip.js";
import { countText, transportOf } from "./transport.js";
import { explainSymbols, wordsElement } from "./words.js";

const A_RUN = 1000; // milliseconds that the page takes to run; two runs asked for at once can leave Streamlit's browser side waiting
const OUT_OF_SIGHT = 8; // px of the picture that the dock may hide
const MOST_DRAW_TIMES = 600;

/** @type {Map<string, {name: string, opening: number, step: number}>} by the place of the step in the address: where a reader left a picture for another */
const leftAt = new Map();

/**
 * A player in `host`.
 * @param {HTMLElement | ShadowRoot} host
 * @param {object} page what is around the player
 * @param {(event: {panel: string, index: number[], action: string}) => void} page.onEvent receives clicks on the picture
 * @param {(step: number) => void} page.onStep of a live run: the step on the screen, whenever the reader touches a control of the page
 * @param {Element | null} page.site the element that holds the page, null if there is only the player
 * @param {Element | null} page.content the element that grows when a row of controls comes
 */
export function mountPlayer(host, { onEvent, onStep, site, content }) {
  const root = make("div", { class: "player", tabindex: "-1", role: "group" });
  host.append(root);
  const playback = new Playback();
  const drawTimes = [];
  const chunks = liveRun();
  /** @type {any} what the parts of the player share */
  const player = {
    root, playback, scene: null, options: null, panels: [], words: null, theme: null, transport: null, zoom: 1, flatness: 1,
    still: window.matchMedia("(prefers-reduced-motion: reduce)"),
    isCard: () => player.options?.mode === "card",
    tools: { explainSymbols: (formula) => explainSymbols(formula, player.scene.symbols, tip) },
    themeChanged: () => player.scene && readTheme(root).key !== player.theme.key,
    redraw, redrawSoon, wake, play, pause, go, goTo, act, send, reportStep, followAddress,
  };
  const tip = tipOf(root, () => player.zoom);
  const fullScreen = fullScreenOf(player, site);
  const address = addressOf({ name: () => player.options?.address ?? "", step: shownStep, playing: () => playback.playing });
  Object.assign(player, { tip, fullScreen, address });
  let chunkSteps = 0; // of what came last
  let asked = false; // whether the page was asked for more steps
  let askFrom = 0; // the time before which it is not asked
  let reportedStep = -1;
  let frame = 0;

  /** The step of the whole run with which what the player holds begins. */
  function origin() {
    return player.scene?.live?.first ?? 0;
  }

  function shownStep() {
    return origin() + playback.step;
  }

  // ------------------------------------------------------------------------------------------------ a scene

  function load(bytes) {
    const { scene: before, options: shownWith } = player;
    const begun = origin();
    const { options, scene } = decodeBlob(bytes);
    const goesOn = Boolean(scene.live && before?.live?.lineage === scene.live.lineage);
    const reopened = Boolean(before) && options.opening !== shownWith.opening;
    const left = leftAt.get(options.address);
    chunkSteps = scene.steps;
    asked = false;
    player.options = options;
    player.scene = scene.live ? chunks.add(scene) : scene;
    build(goesOn);
    const within = (step) => (step === null ? null : step - origin());
    playback.open(rules(), openingStep({
      scene: player.scene, before, step: playback.step, reopened, goesOn, moved: begun - origin(),
      wanted: within(address.read()), resumes: within(options.resumes),
      left: left?.name === scene.name && left?.opening === options.opening ? left.step : null,
    }));
    redraw();
    if (before || playback.step !== player.scene.start) address.remember();
    if (fullScreen.isFull() && !goesOn) fullScreen.fit();
    if (reopened) comeIntoView();
  }

  /** How the scene is played. */
  function rules() {
    const { scene, options } = player;
    const served = Boolean(scene.live && options.serves);
    return { steps: scene.steps, rate: scene.rate, loops: player.isCard(), waits: served && !scene.live.last, restarts: !served };
  }

  /** goesOn: only the picture is new; the controls and the code below stay as they are. */
  function build(goesOn) {
    const { scene, words: old, panels } = player;
    const kept = goesOn ? panels.filter((panel) => root.querySelector(".below").contains(panel.element ?? panel.canvas)) : [];
    player.panels = [];
    root.setAttribute("aria-label", `${scene.title}, ${scene.steps} steps`);
    root.classList.toggle("card", player.isCard());
    const stage = columnsElement(scene.columns, "stage", player);
    player.words = wordsElement(scene.words, player.tools);
    if (goesOn) {
      root.querySelector(".stage").replaceWith(stage);
      old.element.replaceWith(player.words.element);
      player.panels.push(...kept);
    } else {
      const below = columnsElement(scene.below, "stage below", player);
      const nextStop = () => goTo(stopAfter(player.scene.stops, playback.step, playback.steps - 1));
      player.transport = transportOf(scene, playback, { goTo, nextStop, toggle, fill: fullScreen.toggle, save: () => savePicture(player) });
      root.replaceChildren(stage, make("div", { class: "dock" }, player.words.element, player.transport.element), below, tip.element);
    }
    showPlaying();
  }

  /** After a button far from the picture: the picture, unless most of it is in sight. most: of the window above it. */
  function comeIntoView(most = 0.5) {
    const { top } = root.getBoundingClientRect();
    if (top < 0 || top > most * window.innerHeight) root.scrollIntoView({ block: "start", behavior: player.still.matches ? "auto" : "smooth" });
  }

  // ------------------------------------------------------------------------------------------------- drawing

  /** Takes the theme and the widths anew. */
  function measure() {
    player.theme = readTheme(root);
    root.style.setProperty("--current", player.theme.hues.current);
    for (const panel of player.panels.filter((each) => each.canvas)) {
      panel.width = panel.canvas.parentElement.clientWidth;
      panel.height = panel.layout(panel.width, player.flatness);
    }
  }

  function redraw() {
    measure();
    render(performance.now());
  }

  function redrawSoon() {
    measure();
    wake();
  }

  function render(now) {
    const started = performance.now();
    const state = playback.state(now, player.still.matches);
    for (const panel of player.panels) {
      if (panel.element) panel.update(state);
      else if (panel.width > 0) {
        panel.draw(sizeCanvas(panel.canvas, panel.width, panel.height, player.zoom), player.theme, state);
        panel.canvas.setAttribute("aria-label", panel.describe(state));
      }
    }
    player.words.update(playback.step);
    player.transport.showStep(countText(player.scene, playback, origin(), root.classList.contains("narrow"), now));
    if (player.scene.live) askForMore(now);
    if (drawTimes.push(performance.now() - started) > MOST_DRAW_TIMES) drawTimes.shift();
    if (state.mix < 1) wake();
  }

  /** Asks the page, once, for steps that will soon be needed. */
  function askForMore(now) {
    const lacking = player.options.serves && !asked && now >= askFrom ? lackingStep(player.scene, playback, chunkSteps) : null;
    if (lacking === null) return;
    asked = true;
    onEvent({ panel: "player", index: [lacking], action: "more" });
  }

  function wake() {
    if (!frame) frame = requestAnimationFrame(tick);
  }

  function tick(now) {
    frame = 0;
    if (playback.playing && playback.advance(now)) pause();
    render(now);
    if (playback.playing) wake();
  }

  // ---------------------------------------------------------------------------------------- what a reader does

  function go(to) {
    if (!playback.go(to, performance.now())) return;
    tip.hide();
    wake();
    if (!playback.playing) address.remember();
  }

  function goTo(step) {
    pause();
    go(step);
  }

  function play() {
    playback.play(performance.now());
    showPlaying();
    wake();
  }

  function pause() {
    if (!playback.pause()) return;
    showPlaying();
    address.remember();
  }

  /** While it plays, screen readers are not given every sentence. */
  function showPlaying() {
    player.words.live.setAttribute("aria-live", playback.playing ? "off" : "polite");
    player.transport.showPlaying();
  }

  function toggle() {
    if (playback.playing) return pause();
    play();
    const [stage, dock] = [".stage", ".dock"].map((name) => root.querySelector(name).getBoundingClientRect());
    if (stage.bottom - dock.top > OUT_OF_SIGHT && !fullScreen.isFull()) comeIntoView(0);
  }

  /** Does what a key asks for (keys.js). */
  function act(meaning) {
    if (meaning === "play") return toggle();
    pause();
    if (meaning === "picture") savePicture(player);
    else if (meaning === "screen") fullScreen.toggle();
    else go(meaning);
  }

  function send(panel, index) {
    if (!index?.length) return;
    reportStep();
    onEvent({ panel: panel.spec.name, index, action: panel.spec.action.name });
  }

  /** Reports which step of a live run is on the screen: a change of a control holds from there on. */
  function reportStep() {
    if (!player.scene?.live || reportedStep === shownStep()) return;
    reportedStep = shownStep();
    onStep(reportedStep);
  }

  /** After a step through the browser's history, on which the page runs again and sends what is needed. */
  function followAddress() {
    const wanted = address.read();
    askFrom = performance.now() + A_RUN;
    if (player.scene?.live) setTimeout(wake, A_RUN);
    if (wanted !== null && !playback.playing) go(wanted - origin());
  }

  // --------------------------------------------------------------------------------------------------- life

  const disconnect = connect(player, content);

  function destroy() {
    cancelAnimationFrame(frame);
    address.forget();
    disconnect();
    const { scene, options } = player;
    if (scene && !scene.live) leftAt.set(options.address, { name: scene.name, opening: options.opening, step: playback.step });
    root.remove();
  }

  // What tests and the benchmark read.
  root.lantern = {
    get step() { return shownStep(); },
    get first() { return origin(); },
    get steps() { return player.scene.steps; },
    get playing() { return playback.playing; },
    drawTimes,
  };
  return { load, destroy };
}
