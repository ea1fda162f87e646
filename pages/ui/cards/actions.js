// The right end of the top bar: the checks, the link and its QR code, presenting, the theme; and the fold of the rail.

import { find } from "../../../explainers/player/elements.js";
import { copied } from "./copied.js";

/** @import { Component } from "../../../explainers/player/types.d.ts" */
/** @typedef {{passed: number, checks: number, code: string, paths: string[], home: boolean, chapters: string[], chosen: string}} Data checks: -1 where there is nothing to check. code: an SVG image */

const ICONS = {
  light: "M12 3v2M12 19v2M3 12h2M19 12h2M5.6 5.6l1.4 1.4M17 17l1.4 1.4M18.4 5.6 17 7M7 17l-1.4 1.4M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8z",
  dark: "M20 14.5A8 8 0 0 1 9.5 4 8 8 0 1 0 20 14.5z",
  fold: "M4 5h16v14H4zM9.5 5v14",
};
const TABS = ".st-key-_bar [role=radiogroup] [role=radio]";
const PARTS = [["_bar", "navigation", "Topics and chapters"], ["_rail", "region", "Question and controls"], ["_stage", "region", "Picture"], ["_below", "region", "Explanation and checks"]];
/** @type {{chapter: string | null}} the chapter that was on the screen last */
const shown = { chapter: null };
const CHECKED = ".st-key-card-checked";

/** @param {HTMLElement} button @param {keyof typeof ICONS} name */
function drawIcon(button, name) {
  button.innerHTML = `<svg viewBox="0 0 24 24" aria-hidden="true"><path d="${ICONS[name]}"/></svg>`;
}

/** @param {HTMLElement} badge @param {Data} data */
function showBadge(badge, { passed, checks }) {
  badge.hidden = checks <= 0;
  const fails = checks - passed;
  badge.className = `badge ${fails ? "bad" : "good"}`;
  badge.innerHTML = fails ? `✗ ${fails}<span>&nbsp;of ${checks} ${fails === 1 ? "fails" : "fail"}</span>` : `✓ ${checks}<span>&nbsp;check${checks === 1 ? "" : "s"}</span>`;
  const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  badge.onclick = () => document.querySelector(CHECKED)?.scrollIntoView({ behavior: still ? "auto" : "smooth", block: "center" });
}

/** The chapters as a list, for windows in which the tabs have no room: it presses the tabs. @param {HTMLSelectElement} list @param {Data} data */
function listChapters(list, { chapters, chosen }) {
  list.hidden = !chapters.length;
  list.replaceChildren(...chapters.map((title) => new Option(title, title, false, title === chosen)));
  list.onchange = () => {
    /** @type {NodeListOf<HTMLElement>} */
    const tabs = document.querySelectorAll(TABS);
    Array.from(tabs).find((tab) => tab.textContent.includes(list.value))?.click();
  };
}

/** Another chapter begins at its top. @param {Data} data */
function goToTop({ chosen }) {
  const before = shown.chapter;
  shown.chapter = chosen;
  if (before === null || before === chosen) return;
  for (let around = document.querySelector(".st-key-_lesson"); around; around = around.parentElement) around.scrollTop = 0;
}

/** The parts of the page have names for those who jump from one to another. */
function nameParts() {
  for (const [place, role, name] of PARTS) {
    const part = document.querySelector(`.st-key-${place}`);
    part?.setAttribute("role", role);
    part?.setAttribute("aria-label", name);
  }
}

/** Whether the page is dark now. @param {HTMLElement} host */
function isDark(host) {
  const parts = getComputedStyle(host).getPropertyValue("--st-background-color").match(/[0-9a-f]{2}/gi) ?? ["ff"];
  return Number.parseInt(parts[0], 16) < 128;
}

/** Streamlit keeps the theme of each page under its address, and reads it when the page is loaded. @param {HTMLElement} button @param {HTMLElement} host @param {string[]} paths */
function themeButton(button, host, paths) {
  const other = isDark(host) ? "Light" : "Dark";
  drawIcon(button, isDark(host) ? "light" : "dark");
  button.onclick = () => {
    for (const path of [...paths, window.location.pathname]) localStorage.setItem(`stActiveTheme-${path}-v2`, JSON.stringify(other));
    window.location.reload();
  };
}

/** @param {HTMLElement} button @param {AbortSignal} leaving */
function foldButton(button, leaving) {
  drawIcon(button, "fold");
  const page = document.documentElement.classList;
  const show = () => button.setAttribute("aria-expanded", String(!page.contains("rail-folded")));
  const fold = () => {
    page.toggle(document.fullscreenElement ? "rail-shown" : "rail-folded");
    show();
    window.dispatchEvent(new Event("resize"));
  };
  button.onclick = fold;
  show();
  document.addEventListener("keydown", (event) => {
    const writes = event.target instanceof Element && event.target.closest("input:not([type=range]), textarea, [contenteditable]");
    if (event.key === "[" && !writes && !event.ctrlKey && !event.metaKey) fold();
  }, { signal: leaving });
}

/** @param {Component<Data>} component */
export default function ({ data, parentElement, setTriggerValue }) {
  const host = parentElement instanceof ShadowRoot ? /** @type {HTMLElement} */ (parentElement.host) : parentElement;
  const [open, sheet, status] = [find(parentElement, ".open"), find(parentElement, ".sheet"), find(parentElement, "[role=status]")];
  nameParts();
  listChapters(/** @type {HTMLSelectElement} */ (find(parentElement, ".chapters")), data);
  goToTop(data);
  showBadge(find(parentElement, ".badge"), data);
  find(parentElement, ".code").innerHTML = data.code; // ours: the SVG of a QR code
  themeButton(find(parentElement, ".theme"), host, data.paths);
  const leaving = new AbortController();
  foldButton(find(parentElement, ".fold"), leaving.signal);
  for (const name of [".fold", ".present"]) find(parentElement, name).hidden = data.home;
  find(parentElement, ".present").onclick = () => document.documentElement.requestFullscreen();
  /** @param {boolean} shown */
  const show = (shown) => {
    sheet.hidden = !shown;
    open.setAttribute("aria-expanded", String(shown));
  };
  open.onclick = () => {
    show(sheet.hidden);
    status.textContent = "";
    if (!sheet.hidden) setTriggerValue("code", window.location.href);
  };
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") show(false); }, { signal: leaving.signal });
  document.addEventListener("pointerdown", (event) => { if (!event.composedPath().includes(find(parentElement, ".share"))) show(false); }, { signal: leaving.signal });
  find(parentElement, ".copy").onclick = () => copied(window.location.href).then(
    () => { status.textContent = "Copied, with its settings and step"; },
    () => { status.textContent = "The browser refused to copy; please copy by hand"; },
  );
  return () => leaving.abort();
}
