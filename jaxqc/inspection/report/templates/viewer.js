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

// The boxes and their names, at any zoom as exact as it shows: letters keep their size, and all lies within the picture.
function placeBoxes(stack, about) {
  const svg = stack.querySelector("svg"), { width, height } = svg.viewBox.baseVal, boxes = [...svg.querySelectorAll(".box")];
  const size = 12.5 * width / (stack.clientWidth || width), room = width - 0.4 * size;
  const line = 0.06 * size, within = (value, most) => Math.max(line, Math.min(value, most - line));
  boxes.forEach((box, i) => {
    const [x0, y0, x1, y1] = about.defects[i].box.map((value, k) => within(value * (k % 2 ? height / about.height : width / about.width), k % 2 ? height : width));
    for (const [key, value] of Object.entries({ x: x0, y: y0, width: Math.max(line, x1 - x0), height: Math.max(line, y1 - y0) })) box.setAttribute(key, value.toFixed(3));
    let name = svg.querySelectorAll(".box-name")[i];
    if (!name) {
      name = document.createElementNS(SVG, "text");
      name.setAttribute("class", "box-name");
      svg.append(name);
    }
    name.setAttribute("font-size", size.toFixed(2));
    name.textContent = boxes.length > 8 ? i + 1 : `${i + 1} ${about.defects[i].name}`;
    if (name.getComputedTextLength() > room) name.textContent = i + 1;
    const long = name.getComputedTextLength();
    if (long > room) name.setAttribute("font-size", (size * room / long).toFixed(2));
    const x = Math.max(0.2 * size, Math.min(x0, width - Math.min(long, room) - 0.2 * size));
    const y = Math.min(height - 0.3 * size, Math.max(size, y0 - size / 3));
    name.setAttribute("x", x.toFixed(2));
    name.setAttribute("y", Math.max(y, Math.min(size, height)).toFixed(2));
  });
}

// A canvas with a crop: [x, y, width, height, factor] of its source, which is decoded by then.
function cropOf(source, crop) {
  const canvas = element("canvas"), [x, y, width, height] = crop;
  canvas.width = width; canvas.height = height;
  canvas.getContext("2d").drawImage(source, x, y, width, height, 0, 0, width, height);
  return canvas;
}

// The crops, once their file is decoded: beside the defects, and at full resolution on the photo, for the zoom.
async function drawCrops(shot, about, stack, rows) {
  if (!about.crops.length) return;
  const source = new Image();
  source.src = about.from_photo ? stack.querySelector("img").src : shot.dataset.sheet;
  try { await source.decode(); } catch { return; }
  if (current !== shot) return;
  about.crops.forEach((crop, i) => {
    rows[i]?.querySelector(".crop").replaceChildren(cropOf(source, crop), element("span", crop[4] === 1 ? "full size" : `1 : ${crop[4].toFixed(1)}`));
    if (about.from_photo) return;
    const patch = cropOf(source, crop), [x0, y0, x1, y1] = crop.slice(5);
    patch.className = "patch";
    Object.assign(patch.style, { left: `${100 * x0 / about.width}%`, top: `${100 * y0 / about.height}%`,
      width: `${100 * (x1 - x0) / about.width}%`, height: `${100 * (y1 - y0) / about.height}%` });
    stack.querySelector("svg").before(patch);
  });
}

function defectRow(defect, i, box, about) {
  const row = element("tr");
  row.tabIndex = -1;
  const mm = defect.length_mm !== null;
  const size = mm ? `${defect.length_mm.toFixed(1)} × ${defect.breadth_mm.toFixed(1)} mm` : `${defect.length.toFixed(0)} × ${defect.breadth.toFixed(0)} px`;
  const area = mm ? `${defect.area_mm2.toFixed(1)} mm²` : `${defect.area} px`;
  const name = element("td"), crop = element("td"), button = element("button", "zoom", "crop");
  button.type = "button";
  const factor = about.crops[i]?.[4];
  button.setAttribute("aria-label", `Zoom to defect ${i + 1}, ${defect.name}${factor > 1 ? `; its crop is shrunk ${factor.toFixed(1)} times` : ""}`);
  button.addEventListener("click", () => zoomTo(about.crops[i]?.slice(5) ?? defect.box));
  crop.append(button);
  name.append(element("bdi", defect.name));
  const sure = defect.probability === null ? "" : percent(defect.probability, 0);
  row.append(element("td", i + 1, "n"), crop, name, element("td", sure, "n certainty"), element("td", area, "n"),
    element("td", size, "n"), element("td", `${defect.mean.toFixed(2)} (peak ${defect.peak.toFixed(2)})`, "n"));
  const light = (on) => box?.classList.toggle("lit", on);
  for (const name of ["mouseenter", "focusin"]) row.addEventListener(name, () => light(true));
  for (const name of ["mouseleave", "focusout"]) row.addEventListener(name, () => light(false));
  return row;
}

let opener = null; // what the focus goes back to, where that is not the picture itself
function show(shot, from) {
  if (!viewer.open) opener = from ?? null;
  current = shot;
  const visible = shots(), all = visible.includes(shot) ? visible : [shot], about = pictures[+shot.dataset.picture];
  viewer.querySelector("h2 bdi").textContent = about.image;
  const lot = about.lot ? `lot ${about.lot}` : "no lot";
  $("viewer-place").textContent = `${all.indexOf(shot) + 1} of ${all.length} · ${lot}`;
  const stack = $("viewer-stack");
  stack.replaceChildren(...[...shot.querySelector(".stack").children].map((layer) => layer.cloneNode(true)));
  const photo = stack.querySelector("img"), width = +photo.getAttribute("width"), height = +photo.getAttribute("height");
  photo.loading = "eager";
  // A small photo is shown larger, but not so large that it only blurs.
  const frame = $("viewer-frame");
  frame.style.setProperty("--wide", `${Math.round(width * Math.min(8, Math.max(1, 640 / Math.max(width, height))))}px`);
  frame.style.setProperty("--aspect", (width / height).toFixed(5));
  if (!viewer.open) viewer.showModal();
  zoomFor(about);
  const boxes = [...stack.querySelectorAll(".box")];
  const facts = $("viewer-facts");
  facts.replaceChildren(shot.querySelector(".verdict").cloneNode(true),
    ` · severity ${about.severity.toFixed(2)} · score ${about.score} · ${about.count} defect${about.count === 1 ? "" : "s"} on ${percent(about.ratio, 2)} of ${about.width}\u00a0×\u00a0${about.height}\u00a0px · heat from ${about.threshold} on`);
  const rows = about.defects.map((d, i) => defectRow(d, i, boxes[i], about));
  viewer.querySelector(".parts tbody").replaceChildren(...rows);
  drawCrops(shot, about, stack, rows);
  // A share of pixels is no probability, and many models have neither: the column has the name that the model gives it.
  viewer.querySelector("th.certainty").textContent = about.certainty;
  for (const cell of viewer.querySelectorAll(".certainty")) cell.hidden = !about.certainty;
  viewer.querySelector(".parts").hidden = !about.defects.length;
  const rest = about.count - about.defects.length;
  const box = about.defects.length ? "No defect is marked: the box shows what made the image's score." : "";
  const none = box ? box : about.verdict === "review" ? "No defect is marked: the image as a whole is unusual." : "No defect was found.";
  const missing = !about.count ? none : rest ? `${rest} smaller one${rest === 1 ? "" : "s"} not listed.` : "";
  $("viewer-rest").textContent = [missing, about.note].filter(Boolean).join(" ");
  // A button that is disabled would lose the focus.
  $("before").setAttribute("aria-disabled", String(all[0] === shot));
  $("next").setAttribute("aria-disabled", String(all.at(-1) === shot));
}
function step(by) {
  const all = shots(), at = all.indexOf(current), to = at < 0 ? null : all[at + by];
  if (to) show(to);
}

document.addEventListener("click", (event) => {
  const shot = event.target.closest?.(".shot");
  if (shot) show(shot);
});
viewer.addEventListener("close", () => {
  const back = opener?.isConnected ? opener : current;
  back?.focus({ preventScroll: true });
  back?.scrollIntoView({ block: "nearest" });
});
$("before").addEventListener("click", () => step(-1));
$("next").addEventListener("click", () => step(1));
for (const button of document.querySelectorAll("#toggles [data-layer]")) viewer.querySelector(".layers").append(button.cloneNode(true));
for (const key of ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"]) {
  keys.set(key, () => {
    if (!viewer.open) return walk(key) || inReviewList(key);
    if (pan(key)) return true;
    if (key === "ArrowLeft" || key === "ArrowRight") return step(key === "ArrowLeft" ? -1 : 1);
    return false;
  });
}
