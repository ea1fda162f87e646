// The shell of the player: clock, keys, scrub bar, words, address, picture of the step. Panels draw themselves.

const SPEEDS = [0.25, 0.5, 1, 2, 4, 8, 16];
const LIVE_SPEEDS = [0.5, 1, 2, 4, 16, 64, 256];
const MOST_PAINTED = 256; // cells that one drag changes
const GLIDE = 160; // milliseconds that marks take from one step to the next
const NARROW = 700; // below this width in px the columns stand one under the other

const ICONS = {
  first: "M5 5v14M19 5l-10 7 10 7z",
  back: "M17 5L7 12l10 7z",
  play: "M7 4l13 8-13 8z",
  pause: "M7 5h3.5v14H7zM13.5 5H17v14h-3.5z",
  forward: "M7 5l10 7-10 7z",
  last: "M5 5l10 7-10 7zM19 5v14",
  screen: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
  leave: "M9 4v5H4M15 4v5h5M20 15h-5v5M4 15h5v5",
  episode: "M5 4v16M5 5h13l-4 4 4 4H5",
  picture: "M12 4v10M7.5 10l4.5 4.5L16.5 10M5 19h14",
};

/** Builds an element: make("button", {class: "x", title: "y"}, child, ...). */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** The sentence and formula of a step (scene.Words). Each template is built once; a step only writes its numbers.
    Unseen copies of all templates lie behind the one that is read, so that the tallest keeps the place open and the
    picture above never moves. */
function wordsElement(words, tools) {
  const width = words.values.shape[1];
  const numbersOf = (step) => words.values.data.subarray(step * width, (step + 1) * width);
  const live = make("div");
  const element = make("div", { class: "words" });
  const templates = words.sentences.map((sentence, k) => {
    const root = make("p");
    sentence.split("**").forEach((part, at) => root.append(at % 2 ? make("strong", {}, part) : part));
    if (words.formulas[k]) {
      const formula = make("span", { class: "formula" });
      formula.innerHTML = words.formulas[k]; // our own MathML; readers' text never becomes a formula
      tools.explainSymbols(formula);
      root.append(" ", formula);
    }
    const template = { root, write: liveNumbers(root) };
    const step = words.which.data.indexOf(k);
    if (step >= 0) {
      template.write(numbersOf(step));
      const copy = root.cloneNode(true);
      copy.className = "unseen";
      copy.inert = true;
      element.append(copy);
    }
    return template;
  });
  element.append(live);
  return {
    element,
    live,
    update(step) {
      const template = templates[words.which.data[step]];
      template.write(numbersOf(step));
      if (live.firstChild !== template.root) live.replaceChildren(template.root);
    },
  };
}

/** A player in `host`. onEvent({panel, index, action}) receives clicks on the picture; onStep, of a run that goes on,
    the step on the screen whenever the reader touches a control of the page. */
function mountPlayer(host, onEvent, onStep = () => {}) {
  const root = make("div", { class: "player", tabindex: "-1", role: "group" });
  const tip = make("div", { class: "tip", role: "tooltip" });
  host.append(root);

  let scene, options, panels, words, theme;
  let step = 0;
  let previous = 0;
  let changedAt = -1e9;
  let playing = false;
  let speed = 1;
  let frame = 0;
  let clock = 0;
  let zoom = 1; // how much larger everything is on a full screen
  let flatness = 1; // the share of their own height that charts have there
  let addressTimer = 0;
  let parts = {};
  let run; // of a live scene: the chunks of it
  let asked = null; // the step that the page was asked for
  let waitingSince = 0;
  let toldStep = -1;
  let chunkSteps = 0; // of what came last
  const still = window.matchMedia("(prefers-reduced-motion: reduce)");
  const drawTimes = [];
  const tools = { explainSymbols };

  // ------------------------------------------------------------------------------------------------ building

  function load(bytes) {
    const before = scene;
    const opening = options?.opening;
    const wasLast = before && step === before.steps - 1;
    const at = before && origin() + step;
    ({ options, scene } = decodeBlob(bytes));
    const goesOn = Boolean(scene.live && before?.live?.lineage === scene.live.lineage);
    chunkSteps = scene.steps;
    if (scene.live) scene = (run ??= liveRun()).add(scene);
    asked = null;
    build(goesOn);
    const wanted = stepInAddress();
    if (goesOn && options.opening === opening) step = at - origin();
    else if (wanted !== null) step = wanted - origin();
    else if (!before && options.resumes !== null) step = options.resumes - origin();
    else if (!before && goesBack(leftAt.get(options.address))) step = leftAt.get(options.address).step;
    else if (!before || scene.live || options.opening !== opening || (scene.reopens && scene.start !== before.start)) step = scene.start;
    else if (wasLast) step = scene.steps - 1;
    step = Math.max(0, Math.min(step, scene.steps - 1));
    previous = step;
    takeTheme();
    measure();
    render();
    if (before || step !== scene.start) rememberStep();
    if (fullScreen() && !goesOn) fitScreen();
    if (before && options.opening !== opening) comeIntoView();
  }

  /** Whether the reader was here before, in the picture that is shown again. */
  const goesBack = (left) => left?.name === scene.name && left.opening === options.opening;

  /** The step of the whole run with which what the player holds begins. */
  const origin = () => scene.live?.first ?? 0;

  /** After a button far from the picture: the picture, unless most of it is in sight already. most: of the window above it. */
  function comeIntoView(most = 0.5) {
    const { top } = root.getBoundingClientRect();
    if (top < 0 || top > most * window.innerHeight) root.scrollIntoView({ block: "start", behavior: still.matches ? "auto" : "smooth" });
  }

  /** goesOn: only the picture is new; the controls and the code below stay as they are. */
  function build(goesOn) {
    const kept = goesOn ? panels.filter((panel) => root.querySelector(".below").contains(panel.element ?? panel.canvas)) : [];
    panels = [];
    root.setAttribute("aria-label", `${scene.title}, ${scene.steps} steps`);
    root.classList.toggle("card", options.mode === "card");
    const stage = buildColumns(scene.columns, "stage");
    const old = words;
    words = wordsElement(scene.words, tools);
    words.live.setAttribute("aria-live", playing ? "off" : "polite");
    if (goesOn) {
      root.querySelector(".stage").replaceWith(stage);
      old.element.replaceWith(words.element);
      parts.scrub.max = scene.steps - 1;
      panels.push(...kept);
    } else {
      const below = buildColumns(scene.below, "stage below");
      root.replaceChildren(stage, make("div", { class: "dock" }, words.element, buildControls()), below, tip);
      showPlaying();
    }
  }

  function buildColumns(columns, name) {
    const stage = make("div", { class: name });
    stage.style.setProperty("--columns", columns.map((column) => `minmax(0, ${column.weight}fr)`).join(" "));
    for (const column of columns) {
      stage.append(make("div", { class: "column" }, ...column.panels.map((item) => (item.panels ? buildRow(item) : buildPanel(item)))));
    }
    return stage;
  }

  function buildRow(row) {
    const side = make("div", { class: "side-by-side" });
    row.panels.forEach((spec, k) => {
      const figure = buildPanel(spec);
      figure.style.flexGrow = row.weights[k] ?? 1;
      side.append(figure);
    });
    return make("div", { class: row.title ? "titled" : "" }, ...buildTitle(row), side);
  }

  const buildTitle = ({ title, subtitle }) => (title ? [make("div", { class: "title" }, make("b", {}, title), make("small", {}, subtitle))] : []);

  function buildPanel(spec) {
    const panel = panelKinds[spec.kind](spec, tools);
    const figure = make("figure", { class: `panel ${spec.kind}`, "data-panel": spec.name });
    figure.append(...buildTitle(spec));
    panel.spec = spec;
    if (panel.element) figure.append(panel.element);
    else figure.append(buildCanvas(panel));
    panels.push(panel);
    return figure;
  }

  function buildCanvas(panel) {
    panel.canvas = make("canvas", { role: "img" });
    panel.canvas.addEventListener("pointermove", (event) => showHit(panel, event));
    panel.canvas.addEventListener("pointerleave", hideTip);
    if (panel.spec.action) {
      panel.canvas.classList.add("clickable");
      if (panel.spec.paint) paintOn(panel);
      else panel.canvas.addEventListener("click", (event) => send(panel, hitAt(panel, event)?.index));
    }
    if (panel.spec.told) {
      panel.canvas.classList.add("clickable");
      panel.canvas.addEventListener("click", (event) => openTold(panel, event));
    }
    return panel.canvas;
  }

  const cellUnder = (panel, event) => {
    const box = panel.canvas.getBoundingClientRect();
    return panel.cellAt((event.clientX - box.left) / zoom, (event.clientY - box.top) / zoom);
  };

  /** A click that does not paint goes to the step whose words speak of its cell. */
  function openTold(panel, event) {
    if (options.paints) return;
    const found = panel.stepOf(cellUnder(panel, event), step, scene.steps);
    if (found < 0) return;
    pause();
    go(found);
  }

  function send(panel, index) {
    if (!index?.length) return;
    tellStep();
    onEvent({ panel: panel.spec.name, index, action: panel.spec.action.name });
  }

  /** A drag over cells is one event when it ends, with all the cells that it crossed; a click is a drag of one cell. */
  function paintOn(panel) {
    const cross = (event) => {
      const cell = cellUnder(panel, event);
      if (cell >= 0 && panel.painting.size < MOST_PAINTED) panel.painting.add(cell);
      wake();
    };
    panel.canvas.addEventListener("pointerdown", (event) => {
      if (event.button > 0 || !options.paints) return;
      panel.painting = new Set();
      panel.canvas.setPointerCapture(event.pointerId);
      cross(event);
    });
    panel.canvas.addEventListener("pointermove", (event) => { if (panel.painting) cross(event); });
    panel.canvas.addEventListener("pointercancel", () => { panel.painting = null; wake(); });
    panel.canvas.addEventListener("pointerup", () => {
      const cells = [...(panel.painting ?? [])];
      panel.painting = null;
      send(panel, cells);
    });
  }

  function buildControls() {
    const button = (name, label, key, act) => {
      const element = make("button", { type: "button", class: name, "aria-label": label, title: `${label} (${key})` }, icon(name));
      element.addEventListener("click", (event) => {
        act();
        if (event.detail > 0) element.blur(); // after a click of the mouse, Space plays
      });
      return element;
    };
    const scrub = make("input", { type: "range", min: 0, max: scene.steps - 1, step: 1, "aria-label": "Step" });
    scrub.addEventListener("input", () => { pause(); go(Number(scrub.value)); });
    const ticks = make("div", { class: "ticks", "aria-hidden": "true" });
    if (scene.stops.length <= 64) {
      for (const stop of scene.stops) ticks.append(make("i", { style: `left:${(100 * stop) / Math.max(1, scene.steps - 1)}%` }));
    }
    const choose = make("select", { "aria-label": "Speed", title: "Speed" });
    const speeds = scene.live ? LIVE_SPEEDS : SPEEDS;
    if (!speeds.includes(speed)) speed = 1;
    for (const value of speeds) choose.append(make("option", { value, ...(value === speed ? { selected: "" } : {}) }, `${value}×`));
    choose.addEventListener("change", () => { speed = Number(choose.value); });
    parts = { scrub, count: make("span", { class: "count" }), play: button("play", "Play", "Space", togglePlay) };
    return make("div", { class: "controls" },
      button("first", "First step", "Home", () => { pause(); go(0); }),
      button("back", "One step back", "Left", () => { pause(); go(step - 1); }),
      parts.play,
      button("forward", "One step forward", "Right", () => { pause(); go(step + 1); }),
      button("last", "Last step", "End", () => { pause(); go(scene.steps - 1); }),
      ...(scene.live ? [button("episode", "To the end of the episode", "Down", () => { pause(); KEYS.ArrowDown(); })] : []),
      make("div", { class: "scrub" }, ticks, scrub),
      parts.count,
      choose,
      button("screen", "Fill the screen", "F", toggleScreen),
      button("picture", "Save a PNG of this step", "S", savePicture));
  }

  /** Every symbol of a formula that the scene explains gets its meaning on hover, on focus and for screen readers. */
  function explainSymbols(formula) {
    for (const symbol of formula.querySelectorAll("mi, mo, msub, msup")) {
      const meaning = scene.symbols[symbol.textContent.trim()];
      if (!meaning) continue;
      symbol.classList.add("explained");
      symbol.setAttribute("tabindex", "0");
      symbol.setAttribute("aria-description", meaning);
      const show = () => showTip(meaning, symbol.getBoundingClientRect());
      symbol.addEventListener("pointerenter", show);
      symbol.addEventListener("focus", show);
      symbol.addEventListener("pointerleave", hideTip);
      symbol.addEventListener("blur", hideTip);
    }
  }

  // ------------------------------------------------------------------------------------------------- drawing

  function measure() {
    for (const panel of panels) {
      if (!panel.canvas) continue;
      panel.width = panel.canvas.parentElement.clientWidth;
      panel.height = panel.layout(panel.width, flatness);
    }
  }

  function render(now = performance.now()) {
    const started = performance.now();
    const glide = still.matches || playing && scene.rate * speed > 12 ? 1 : Math.min(1, (now - changedAt) / GLIDE);
    const state = { step, previous, mix: previous === step ? 1 : 1 - (1 - glide) ** 3 };
    for (const panel of panels) {
      if (panel.element) panel.update(state);
      else if (panel.width > 0) {
        panel.draw(sizeCanvas(panel.canvas, panel.width, panel.height, zoom), theme, state);
        panel.canvas.setAttribute("aria-label", panel.describe(state));
      }
    }
    words.update(step);
    parts.scrub.value = step;
    parts.scrub.style.setProperty("--done", `${(100 * step) / Math.max(1, scene.steps - 1)}%`);
    parts.count.textContent = countText(now);
    if (scene.live) askForMore();
    if (drawTimes.push(performance.now() - started) > 600) drawTimes.shift();
    if (state.mix < 1) wake();
  }

  function countText(now) {
    const narrow = root.classList.contains("narrow");
    const number = origin() + step + 1;
    if (!scene.live) return narrow ? `${number} / ${scene.steps}` : `${scene.step_name} ${number} of ${scene.steps}`;
    const late = waitingSince && now - waitingSince > 1000;
    if (narrow) return number.toLocaleString("en-US");
    return `${scene.step_name} ${number.toLocaleString("en-US")}, ${late ? "computing" : scene.live.last && step === scene.steps - 1 ? "the last" : "still learning"}`;
  }

  /** Asks the page for the chunk after or before those held, once, when the step comes near to its place; in a pause
      for what was before a link's step, too. */
  function askForMore() {
    if (!options.serves || asked !== null) return;
    const after = scene.steps - 1 - step < scene.live.ahead && !scene.live.last;
    const before = origin() > 0 && (step < 64 || (!playing && scene.steps + chunkSteps <= scene.live.kept));
    const lacking = after ? origin() + scene.steps : before ? origin() - 1 : null;
    if (lacking === null) return;
    asked = lacking;
    onEvent({ panel: "player", index: [lacking], action: "more" });
  }

  function wake() {
    if (!frame) frame = requestAnimationFrame(tick);
  }

  function tick(now) {
    frame = 0;
    if (playing) advance(now);
    render(now);
    if (playing) wake();
  }

  function advance(now) {
    const due = Math.floor(((now - clock) / 1000) * scene.rate * speed);
    if (due < 1) return;
    clock = now;
    const last = scene.steps - 1;
    if (step >= last && options.mode === "card") setStep(0);
    else setStep(Math.min(last, step + due));
    const waits = scene.live && options.serves && !scene.live.last;
    waitingSince = step >= last && waits ? waitingSince || now : 0;
    if (step >= last && options.mode !== "card" && !waits) pause();
  }

  function setStep(to) {
    previous = step;
    step = Math.max(0, Math.min(scene.steps - 1, to));
    changedAt = performance.now();
  }

  function go(to) {
    if (Math.max(0, Math.min(scene.steps - 1, to)) === step) return;
    setStep(to);
    hideTip();
    wake();
    if (!playing) rememberStep();
  }

  function play() {
    if (step >= scene.steps - 1 && !(scene.live && options.serves)) setStep(0);
    playing = true;
    clock = performance.now();
    words.live.setAttribute("aria-live", "off");
    showPlaying();
    wake();
  }

  function pause() {
    if (!playing) return;
    playing = false;
    words.live.setAttribute("aria-live", "polite");
    showPlaying();
    rememberStep();
  }

  function showPlaying() {
    parts.play.replaceChildren(icon(playing ? "pause" : "play"));
    parts.play.setAttribute("aria-label", playing ? "Pause" : "Play");
  }

  function togglePlay() {
    if (playing) return pause();
    play();
    const hidden = root.querySelector(".stage").getBoundingClientRect().bottom - root.querySelector(".dock").getBoundingClientRect().top;
    if (hidden > 8 && !fullScreen()) comeIntoView(0);
  }

  // ------------------------------------------------------------------------------------------------- address

  function stepInAddress() {
    if (!options.address) return null;
    const text = new URLSearchParams(window.location.search).get(options.address);
    return text !== null && /^\d{1,9}$/.test(text) ? Number(text) : null;
  }

  /** A moment after the reader pauses, the address names the step; no rerun, no new entry in the history. */
  function rememberStep() {
    if (!options.address) return;
    clearTimeout(addressTimer);
    addressTimer = setTimeout(() => { if (!playing) writeStep(); }, 250);
  }

  function writeStep() {
    const url = new URL(window.location.href);
    const shown = String(origin() + step);
    if (!options.address || url.searchParams.get(options.address) === shown) return;
    url.searchParams.set(options.address, shown);
    window.history.replaceState(window.history.state, "", url);
  }

  function followAddress() {
    const wanted = stepInAddress();
    if (wanted !== null && !playing) go(wanted - origin());
  }

  /** Tells the page which step is on the screen: a change of a control holds from there on. */
  function tellStep() {
    if (!scene?.live || toldStep === origin() + step) return;
    toldStep = origin() + step;
    onStep(toldStep);
  }

  const CONTROL = "input, button, label, [role], [data-baseweb]";
  let pressed = false; // a control of the page, outside the player

  function onPointer(event) {
    const target = event.composedPath()[0];
    if (event.type === "pointerdown") {
      pressed = !root.contains(target) && Boolean(target.closest?.(CONTROL));
      if (pressed && playing && options.mode !== "card") writeStep(); // a link that is copied while it plays
    } else if (pressed) tellStep();
  }

  function onControlKey(event) {
    const target = event.composedPath()[0];
    const changes = /^(Arrow.*|Home|End|Page.*|Enter| )$/.test(event.key);
    if (changes && !root.contains(target) && target.closest?.(CONTROL)) tellStep();
  }

  // ---------------------------------------------------------------------------------------- pointer and keys

  function hitAt(panel, event) {
    const box = panel.canvas.getBoundingClientRect();
    return panel.hit((event.clientX - box.left) / zoom, (event.clientY - box.top) / zoom, { step, previous, mix: 1 });
  }

  function showHit(panel, event) {
    const hit = hitAt(panel, event);
    if (!hit) return hideTip();
    if (options.paints && panel.spec.paint) return hideTip(); // it would lie on the cells to paint
    const hint = panel.spec.told && !options.paints ? ". click for its arithmetic" : panel.spec.action ? `. ${panel.spec.action.hint}` : "";
    showTip(hit.text + hint, { left: event.clientX, right: event.clientX, top: event.clientY, bottom: event.clientY + 14 });
  }

  function showTip(text, near) {
    const box = root.getBoundingClientRect();
    tip.textContent = text;
    tip.style.display = "block";
    const left = Math.min(Math.max(4, (near.left - box.left) / zoom + 8), Math.max(4, box.width / zoom - tip.offsetWidth - 6));
    tip.style.left = `${left}px`;
    tip.style.top = `${(near.bottom - box.top) / zoom + root.scrollTop + 6}px`;
  }

  function hideTip() {
    tip.style.display = "none";
  }

  const KEYS = {
    Home: () => go(0),
    End: () => go(scene.steps - 1),
    ArrowLeft: () => go(step - 1),
    ArrowRight: () => go(step + 1),
    PageUp: () => go(step - 1), // a presenter's remote sends these two
    PageDown: () => go(step + 1),
    ArrowUp: () => go(scene.stops.filter((stop) => stop < step).at(-1) ?? 0),
    ArrowDown: () => go(scene.stops.find((stop) => stop > step) ?? scene.steps - 1),
    s: savePicture,
    f: toggleScreen,
  };

  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") document.activeElement?.blur(); // gives the keys back to the player
    if (!listensTo(event)) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (key === " ") togglePlay();
    else if (KEYS[key]) {
      pause();
      KEYS[key]();
    } else return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }

  /** Keys belong to the player that the reader touched last, unless a field or a button outside has the focus. */
  function listensTo(event) {
    const target = event.composedPath()[0];
    if (root.contains(target)) return !(target.tagName === "SELECT" || (target.tagName === "BUTTON" && event.key === " "));
    const remote = ["PageUp", "PageDown"].includes(event.key) && !target.closest?.("input, textarea, select, [contenteditable]");
    const free = remote || target === document.body || target === document.documentElement || target === window || !target.closest?.("input, textarea, select, button, a, [role], [contenteditable], [tabindex]");
    return free && options.mode !== "card" && activePlayer === root && root.isConnected;
  }

  const makeActive = () => { activePlayer = root; };

  /** A pointer on the picture takes the keys from a button, tab or slider that was used before; never from a text. */
  function takeKeys() {
    makeActive();
    const focused = document.activeElement;
    const writing = focused?.closest?.("textarea, select, [contenteditable], input:not([type=range], [type=radio], [type=checkbox])");
    if (options.mode !== "card" && focused && !root.contains(focused) && !writing) focused.blur?.();
  }

  // -------------------------------------------------------------------------------------------- full screen

  // On the site the whole page fills the screen, and its style sheet leaves only the controls and the picture; a page
  // that holds nothing but the player has no controls to keep.
  const site = document.querySelector(".stApp");

  function toggleScreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else (site ? document.documentElement : root).requestFullscreen();
  }

  const fullScreen = () => Boolean(document.fullscreenElement) && options.mode !== "card";

  function zoomTo(factor) {
    zoom = factor;
    root.style.zoom = factor === 1 ? "" : factor;
    takeTheme();
    measure();
    render();
  }

  let above = 0; // px of the whole screen that the controls take

  /** Picture, sentence and controls as large as the screen allows; the code waits outside. */
  function fitScreen() {
    if (!scene) return;
    const full = fullScreen(), label = full ? "Leave the full screen" : "Fill the screen";
    root.classList.toggle("full", full);
    const button = root.querySelector("button.screen");
    button.setAttribute("aria-label", label);
    button.title = `${label} (F)`;
    button.replaceChildren(icon(full ? "leave" : "screen"));
    squeeze(1);
    zoomTo(full ? Math.min(window.innerWidth / 1180, 2.5) : 1);
    above = site && full ? root.getBoundingClientRect().top : 0;
    const room = window.innerHeight - above - (site ? 16 : 0);
    const [stage, dock] = [".stage", ".dock"].map((name) => root.querySelector(name));
    const fits = () => room / (zoom * (stage.offsetHeight + dock.offsetHeight + (site ? 28 : 50)));
    // Flatter charts first, whose letters stay as large; then all of it smaller.
    while (full && fits() < 1 && flatness > 0.76) squeeze(flatness * Math.max(0.9, Math.min(0.98, fits())));
    // What is drawn smaller is wider for its height, and may grow: a few rounds until all of it fits.
    for (let round = 0; full && round < 5 && fits() < 1; round++) zoomTo(Math.max(0.6, zoom * fits()));
  }

  function squeeze(share) {
    flatness = share;
    measure();
    render();
  }

  // ----------------------------------------------------------------------------------------------- take-away

  /** Saves this step as PNG, twice as sharp as the screen: panels, titles and the sentence, without controls and code. */
  async function savePicture() {
    const stage = root.querySelector(".stage");
    const height = placeOf(words.element).bottom + 12;
    const width = root.getBoundingClientRect().width / zoom;
    const canvas = make("canvas", { width: 2 * width, height: 2 * height });
    const context = canvas.getContext("2d");
    context.scale(2, 2);
    context.fillStyle = css(theme.ground);
    context.fillRect(0, 0, width, height);
    for (const panel of panels.filter((item) => item.canvas && stage.contains(item.canvas))) {
      const at = placeOf(panel.canvas);
      context.save();
      context.translate(at.left, at.top);
      panel.draw(context, theme, { step, previous: step, mix: 1 });
      context.restore();
    }
    for (const title of stage.querySelectorAll(".title b, .title small")) paintText(context, title);
    await paintWords(context);
    canvas.toBlob((blob) => {
      const link = make("a", { href: URL.createObjectURL(blob), download: `${scene.name}-step-${step + 1}.png` });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    });
  }

  /** Where an element stands in the player, in its own unzoomed pixels. */
  function placeOf(element) {
    const box = root.getBoundingClientRect();
    const at = element.getBoundingClientRect();
    const [left, top] = [(at.left - box.left) / zoom, (at.top - box.top) / zoom];
    return { left, top, right: left + at.width / zoom, bottom: top + at.height / zoom, width: at.width / zoom, height: at.height / zoom };
  }

  function paintText(context, element) {
    const style = getComputedStyle(element);
    context.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
    context.fillStyle = style.color;
    context.textBaseline = "top";
    context.textAlign = "left";
    const at = placeOf(element);
    const line = Number.parseFloat(style.fontSize) * 1.4;
    let [x, y] = [at.left, at.top + line * 0.1];
    for (const word of element.textContent.split(/(?<=\s)/)) {
      const width = context.measureText(word.trimEnd()).width;
      if (x + width > at.right + 1 && x > at.left) [x, y] = [at.left, y + line];
      context.fillText(word, x, y);
      x += context.measureText(word).width;
    }
  }

  /** The sentence and its formula: only the browser can draw MathML, so it does, as an SVG image. */
  async function paintWords(context) {
    const at = placeOf(words.element);
    const style = getComputedStyle(words.element);
    const look = `font:${style.fontSize}/${style.lineHeight} ${style.fontFamily.replace(/"/g, "'")};color:${style.color}`;
    const rules = `p{margin:0}strong{color:${theme.hues.current}}.formula{margin-left:10px;font-size:17px}`;
    const text = new XMLSerializer().serializeToString(words.live.firstChild);
    const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${at.width}" height="${at.height}"><style>${rules}</style>` +
      `<foreignObject width="100%" height="100%"><div xmlns="http://www.w3.org/1999/xhtml" style="${look}">${text}</div></foreignObject></svg>`;
    const image = new Image();
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
    await image.decode();
    context.drawImage(image, at.left, at.top, at.width, at.height);
  }

  // --------------------------------------------------------------------------------------------------- life

  function takeTheme() {
    theme = readTheme(root);
    root.style.setProperty("--current", theme.hues.current);
  }

  function redraw() {
    takeTheme();
    measure();
    wake();
  }

  let lastWidth = 0;
  const sizes = new ResizeObserver((entries) => {
    if (fullScreen() && site && Math.abs(root.getBoundingClientRect().top - above) > 2) fitScreen(); // a row more, or less
    const entry = entries.find((one) => one.target === root);
    if (!entry) return;
    const width = Math.round(entry.contentRect.width);
    root.classList.toggle("narrow", width < NARROW);
    if (width === lastWidth || !scene) return;
    lastWidth = width;
    redraw();
  });
  sizes.observe(root);
  if (site) sizes.observe(document.querySelector("[data-testid=stMainBlockContainer]") ?? site);
  // A change of theme changes inherited colours; the transition on `color` (player.css) reports it.
  const themeChanged = (event) => { if (event.target === root && scene && readTheme(root).key !== theme.key) redraw(); };
  root.addEventListener("transitionend", themeChanged);
  root.addEventListener("pointerenter", () => { takeKeys(); if (options.mode === "card" && !still.matches) play(); });
  root.addEventListener("pointerleave", () => { hideTip(); if (options.mode === "card") rest(); });
  root.addEventListener("focusin", () => { makeActive(); if (options.mode === "card" && !still.matches) play(); });
  root.addEventListener("focusout", () => { if (options.mode === "card") rest(); });
  document.addEventListener("fullscreenchange", fitScreen);
  window.addEventListener("resize", refit);
  document.addEventListener("keydown", onKey, true);
  document.addEventListener("keydown", onControlKey, true);
  for (const type of ["pointerdown", "pointerup"]) document.addEventListener(type, onPointer, true);
  window.addEventListener("popstate", followAddress);
  if (!activePlayer?.isConnected) makeActive();

  function refit() {
    if (fullScreen()) fitScreen();
  }

  function rest() {
    pause();
    go(scene.start);
  }

  function destroy() {
    cancelAnimationFrame(frame);
    clearTimeout(addressTimer);
    sizes.disconnect();
    document.removeEventListener("keydown", onKey, true);
    document.removeEventListener("keydown", onControlKey, true);
    for (const type of ["pointerdown", "pointerup"]) document.removeEventListener(type, onPointer, true);
    window.removeEventListener("popstate", followAddress);
    document.removeEventListener("fullscreenchange", fitScreen);
    window.removeEventListener("resize", refit);
    if (scene && !scene.live) leftAt.set(options.address, { name: scene.name, opening: options.opening, step });
    root.remove();
  }

  // What tests and the benchmark read.
  root.lantern = { get step() { return origin() + step; }, get first() { return origin(); }, get steps() { return scene.steps; }, get playing() { return playing; }, drawTimes };
  return { load, destroy };
}

let activePlayer = null;
const leftAt = new Map(); // by the place of the step in the address: where a reader left a picture for another
