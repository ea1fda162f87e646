// The registry of panels: a kind of scene.Panel -> what draws it. A panel is made from its spec and has either
//   layout(width, share) -> height in px (of a chart, that share of its own), draw(context, theme, state), hit(x, y, state) -> {text, index} or null,
// or, where it lives in the document, `element` and update(state); and describe(state) -> words for screen readers.
// state: {step, previous, mix}, mix from 0 to 1 on the way from the previous step to this one.

export const panelKinds = {};
export const registerPanel = (kind, create) => { panelKinds[kind] = create; };
