"use strict";
// Theme, help, sections, and the keys that work everywhere.
const $ = (id) => document.getElementById(id);
const root = document.documentElement, body = document.body;
const keys = new Map(); // a key without modifiers → what it does

const remembered = (() => {
  // A file opened from disk may be refused any storage.
  try { return window.localStorage; } catch { return null; }
})();

const THEMES = ["auto", "light", "dark"];
function setTheme(name) {
  if (name === "auto") delete root.dataset.theme; else root.dataset.theme = name;
  $("theme").querySelector("span").textContent = name;
  try { remembered?.setItem("jaxqc-theme", name); } catch { /* full or forbidden */ }
}
function nextTheme() {
  const now = root.dataset.theme ?? "auto";
  setTheme(THEMES[(THEMES.indexOf(now) + 1) % THEMES.length]);
}

function setLayer(name, on) {
  if (on) body.dataset[name] = ""; else delete body.dataset[name];
  for (const button of document.querySelectorAll(`[data-layer="${name}"]`)) button.setAttribute("aria-pressed", String(on));
}
const toggleLayer = (name) => setLayer(name, !(name in body.dataset));

function watchSections() {
  const links = new Map([...document.querySelectorAll("nav a")].map((a) => [a.hash.slice(1), a]));
  const seen = new Set();
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) seen.add(entry.target.id); else seen.delete(entry.target.id);
    const first = [...links.keys()].find((id) => seen.has(id));
    for (const [id, link] of links) if (id === first) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current");
  }, { rootMargin: "-15% 0px -60% 0px" });
  for (const id of links.keys()) if ($(id)) watcher.observe($(id));
}

const typing = (target) => target.matches("input, select, textarea");
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
  const action = keys.get(event.key);
  if (action && action(event) !== false) event.preventDefault();
});

for (const tools of document.querySelectorAll(".tools, .toggles, .filters")) tools.hidden = false;
for (const close of document.querySelectorAll("[data-close]")) close.addEventListener("click", () => close.closest("dialog").close());
for (const dialog of document.querySelectorAll("dialog")) {
  // A click on the backdrop is one on the dialog itself, outside its padding box.
  dialog.addEventListener("click", (event) => {
    if (event.target !== dialog) return;
    const box = dialog.getBoundingClientRect();
    const inside = event.clientX >= box.left && event.clientX <= box.right && event.clientY >= box.top && event.clientY <= box.bottom;
    if (!inside) dialog.close();
  });
}
for (const layer of ["heat", "outline", "boxes"]) setLayer(layer, true);
document.addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-layer]");
  if (button) toggleLayer(button.dataset.layer);
});

setTheme(THEMES.includes(remembered?.getItem("jaxqc-theme")) ? remembered.getItem("jaxqc-theme") : "auto");
$("theme").addEventListener("click", nextTheme);
$("ask").addEventListener("click", () => $("help").showModal());
keys.set("t", nextTheme);
keys.set("?", () => { if (!document.querySelector("dialog[open]")) $("help").showModal(); });
keys.set("h", () => toggleLayer("heat"));
keys.set("m", () => toggleLayer("outline"));
keys.set("b", () => toggleLayer("boxes"));
watchSections();
