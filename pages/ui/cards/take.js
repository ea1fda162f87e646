// "Take it along": copies the link and the commands, and asks the page for a QR code.

function copied(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done ? Promise.resolve() : Promise.reject();
}

export default function ({ data, parentElement, setTriggerValue }) {
  const status = parentElement.querySelector("[role=status]");
  const copy = (text, done) => copied(text).then(
    () => { status.textContent = done; },
    () => { status.textContent = "The browser refused to copy; please copy by hand"; },
  );
  parentElement.querySelector("pre").textContent = data.commands;
  parentElement.querySelector(".copy").onclick = () => copy(window.location.href, "Copied, with its settings and step");
  parentElement.querySelector(".commands").onclick = () => copy(data.commands, "Copied");
  parentElement.querySelector(".qr").onclick = () => setTriggerValue("code", window.location.href);
}
