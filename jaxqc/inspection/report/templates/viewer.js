// The pictures: walking through them with the arrows, and one at a time in the viewer with its defects.
const pictures = JSON.parse($("data").textContent);
const viewer = $("viewer");
const shots = () => [...document.querySelectorAll(".shot")].filter((shot) => !shot.closest("[hidden]"));
const SVG = "http://www.w3.org/2000/svg";
let current = null;

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}
const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)} %`;

function walk(key) {
  const all = shots(), at = all.indexOf(document.activeElement);
  if (at < 0) return false;
  const here = all[at].getBoundingClientRect();
  let to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: all.length - 1 }[key];
  if (to === undefined) {
    // The nearest picture in the next row of pictures, which may be another lot's.
    const down = key === "ArrowDown", step = down ? 1 : -1;
    let best = Infinity, row = null;
    for (let i = at + step; i >= 0 && i < all.length; i += step) {
      const box = all[i].getBoundingClientRect();
      if (Math.abs(box.top - here.top) < 4) continue;
      row ??= box.top;
      if (Math.abs(box.top - row) > 4) break;
      if (Math.abs(box.left - here.left) < best) { best = Math.abs(box.left - here.left); to = i; }
    }
  }
  if (to === undefined || !all[to]) return true;
  all[to].focus({ preventScroll: true });
  all[to].scrollIntoView({ block: "nearest" });
  return true;
}

function drawBoxes(stack, about, width) {
  const svg = stack.querySelector("svg"), boxes = [...svg.querySelectorAll(".box")];
  const size = 12.5 * width / (stack.clientWidth || width); // letters keep their size whatever the photo's
  boxes.forEach((box, i) => {
    const name = document.createElementNS(SVG, "text");
    name.setAttribute("class", "box-name");
    name.setAttribute("font-size", size.toFixed(1));
    name.setAttribute("x", box.getAttribute("x"));
    name.setAttribute("y", Math.max(size, +box.getAttribute("y") - size / 3).toFixed(1));
    name.textContent = boxes.length > 8 ? i + 1 : `${i + 1} ${about.defects[i].name}`;
    svg.append(name);
  });
  return boxes;
}

function defectRow(defect, i, box) {
  const row = element("tr");
  row.tabIndex = 0;
  const mm = defect.length_mm !== null;
  const size = mm ? `${defect.length_mm.toFixed(1)} × ${defect.breadth_mm.toFixed(1)} mm` : `${defect.length.toFixed(0)} × ${defect.breadth.toFixed(0)} px`;
  const area = mm ? `${defect.area_mm2.toFixed(1)} mm²` : `${defect.area} px`;
  const name = element("td");
  name.append(element("bdi", defect.name));
  const sure = defect.probability === null ? "" : percent(defect.probability, 0);
  row.append(element("td", i + 1, "n"), name, element("td", sure, "n certainty"), element("td", area, "n"),
    element("td", size, "n"), element("td", `${defect.mean.toFixed(2)} (peak ${defect.peak.toFixed(2)})`, "n"));
  const light = (on) => box?.classList.toggle("lit", on);
  for (const name of ["mouseenter", "focus"]) row.addEventListener(name, () => light(true));
  for (const name of ["mouseleave", "blur"]) row.addEventListener(name, () => light(false));
  return row;
}

function show(shot) {
  current = shot;
  const all = shots(), about = pictures[+shot.dataset.picture];
  viewer.querySelector("h2 bdi").textContent = about.image;
  const lot = about.lot ? `lot ${about.lot}` : "no lot";
  $("viewer-place").textContent = `${all.indexOf(shot) + 1} of ${all.length} · ${lot}`;
  const stack = $("viewer-stack");
  stack.replaceChildren(...[...shot.querySelector(".stack").children].map((layer) => layer.cloneNode(true)));
  for (const img of stack.querySelectorAll("img")) img.loading = "eager";
  // A small photo is shown larger, but not so large that it only blurs.
  const photo = stack.querySelector("img"), width = +photo.getAttribute("width"), height = +photo.getAttribute("height");
  stack.style.setProperty("--wide", `${Math.round(width * Math.min(3, Math.max(1, 640 / width)))}px`);
  stack.style.setProperty("--aspect", (width / height).toFixed(4));
  if (!viewer.open) viewer.showModal();
  const boxes = drawBoxes(stack, about, width);
  const facts = $("viewer-facts");
  facts.replaceChildren(shot.querySelector(".verdict").cloneNode(true),
    ` · severity ${about.severity.toFixed(2)} · score ${about.score} · ${about.count} defect${about.count === 1 ? "" : "s"} on ${percent(about.ratio, 2)} of ${about.width}\u00a0×\u00a0${about.height}\u00a0px`);
  const tbody = viewer.querySelector(".parts tbody");
  // A share of pixels is no probability, and many models have neither: the column has the name that the model gives it.
  viewer.querySelector("th.certainty").textContent = about.certainty;
  tbody.replaceChildren(...about.defects.map((d, i) => defectRow(d, i, boxes[i])));
  for (const cell of viewer.querySelectorAll(".certainty")) cell.hidden = !about.certainty;
  viewer.querySelector(".parts").hidden = !about.defects.length;
  const rest = about.count - about.defects.length;
  $("viewer-rest").textContent = !about.count ? "No defect was found." : rest ? `${rest} smaller one${rest === 1 ? "" : "s"} not listed.` : "";
  $("before").disabled = all[0] === shot;
  $("next").disabled = all.at(-1) === shot;
}
function step(by) {
  const all = shots(), to = all[all.indexOf(current) + by];
  if (to) show(to);
}

document.addEventListener("click", (event) => {
  const shot = event.target.closest?.(".shot");
  if (shot) show(shot);
});
viewer.addEventListener("close", () => {
  current?.focus({ preventScroll: true });
  current?.scrollIntoView({ block: "nearest" });
});
$("before").addEventListener("click", () => step(-1));
$("next").addEventListener("click", () => step(1));
for (const button of document.querySelectorAll("#toggles [data-layer]")) viewer.querySelector(".layers").append(button.cloneNode(true));
for (const key of ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"]) {
  keys.set(key, () => {
    if (!viewer.open) return walk(key);
    if (key === "ArrowLeft" || key === "ArrowRight") return step(key === "ArrowLeft" ? -1 : 1);
    return false;
  });
}
body.dataset.ready = "";
