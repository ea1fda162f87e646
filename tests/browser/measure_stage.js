// What of a chapter does not lie whole in the window: an array of sentences. Shadow roots are looked into.
() => {
  const found = [];
  const wide = window.innerWidth;
  const high = window.innerHeight;
  const main = document.querySelector("[data-testid=stMain]");
  if (main.scrollTop) found.push("the page is scrolled");
  const deep = (root, selector) => {
    const all = [...root.querySelectorAll(selector)];
    for (const host of root.querySelectorAll("*")) if (host.shadowRoot) all.push(...deep(host.shadowRoot, selector));
    return all;
  };
  const seen = (element) => element.getClientRects().length > 0;
  const box = (element) => element.getBoundingClientRect();
  const name = (element) => `${element.dataset.panel ?? element.getAttribute("class")?.match(/st-key-\S+/)?.[0] ?? element.className}: "${(element.innerText ?? "").trim().slice(0, 30)}"`;
  const inside = (element, frame, what) => {
    const [at, all] = [box(element), frame];
    if (at.left < all.left - 1 || at.right > all.right + 1 || at.top < all.top - 1 || at.bottom > all.bottom + 1) {
      found.push(`${what} ${name(element)} reaches out: ${[at.left, at.top, at.right, at.bottom].map(Math.round)} of ${[all.left, all.top, all.right, all.bottom].map(Math.round)}`);
    }
  };
  const apart = (elements, what) => {
    elements.forEach((a, k) => elements.slice(k + 1).forEach((b) => {
      const [p, q] = [box(a), box(b)];
      const across = Math.min(p.right, q.right) - Math.max(p.left, q.left);
      const down = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
      if (across > 1.5 && down > 1.5 && !a.contains(b) && !b.contains(a)) found.push(`${what} ${name(a)} and ${name(b)} overlap`);
    }));
  };
  const screen = { left: 0, top: 0, right: wide, bottom: high };

  // The rail: every control that is not behind a button.
  const rail = document.querySelector(".st-key-_rail");
  const controls = [...rail.querySelectorAll("[class*='st-key-controls-'] > [data-testid=stElementContainer], [class*='st-key-breaks-'] > *, [class*='st-key-further-'] > *")].filter(seen);
  const railBox = box(rail.parentElement);
  for (const control of controls) {
    inside(control, { ...screen, left: railBox.left, right: railBox.right }, "control");
    for (const label of control.querySelectorAll("label p, button p")) if (label.scrollWidth > label.clientWidth + 1) found.push(`control ${name(control)} is clipped`);
  }
  apart(controls, "controls");

  // The caption: its words whole, and apart.
  const caption = document.querySelector(".st-key-_caption");
  const captionBox = box(caption.parentElement);
  const spoken = [...caption.querySelectorAll("h1, p, [data-testid=stText]")].filter(seen);
  for (const words of spoken) inside(words, captionBox, "caption");
  apart(spoken, "caption");

  // The bar.
  const bar = [...document.querySelectorAll(".st-key-_bar a, .st-key-_bar button"), ...deep(document, ".row > *")].filter(seen);
  for (const part of bar) inside(part, { ...screen, bottom: 48 }, "bar");
  apart(bar, "bar");

  // The stage: every panel whole, its words and formula, the buttons.
  const stage = deep(document, ".frame > .stage")[0];
  if (stage) {
    const stageBox = box(stage);
    if (stage.scrollHeight > stage.clientHeight + 1) found.push(`the stage is ${stage.scrollHeight - stage.clientHeight} px too high`);
    const panels = [...stage.querySelectorAll(".panel")];
    for (const panel of panels) inside(panel, { left: stageBox.left, right: stageBox.right, top: stageBox.top, bottom: Math.min(stageBox.bottom, high) }, "panel");
    apart(panels, "panels");
    for (const title of stage.querySelectorAll(".title b, .title small")) if (title.scrollWidth > title.clientWidth + 1) found.push(`title ${name(title)} is clipped`);
    for (const code of stage.querySelectorAll("pre")) if (code.scrollWidth > code.clientWidth + 1) found.push(`code ${name(code)} is ${code.scrollWidth - code.clientWidth} px too wide`);
    const [words] = deep(document, ".dock > .words > div:last-child");
    const [buttons] = deep(document, ".dock > .controls");
    inside(words, screen, "words");
    inside(buttons, screen, "buttons");
    if (box(words).bottom > box(buttons).top + 1) found.push("the words reach over the buttons");
    apart([...buttons.children].filter(seen), "buttons");
  }
  return found;
}
