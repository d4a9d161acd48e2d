// Zoom and pan of the viewer's picture: wheel, buttons and keys; the frame stays, the picture in it grows and scrolls.
const zoomed = { now: 1, most: 8, about: null };

function zoomFor(about) {
  const stack = $("viewer-stack");
  stack.style.setProperty("--zoom", 1);
  zoomed.about = about;
  // At least to four pixels of the screen for one of the image.
  zoomed.most = Math.max(8, 4 * about.width / (stack.clientWidth || about.width));
  zoom(1);
}

// x, y: the point of the frame that stays where it is.
function zoom(to, x, y) {
  const frame = $("viewer-frame"), stack = $("viewer-stack"), out = frame.getBoundingClientRect(), box = stack.getBoundingClientRect();
  const left = x ?? out.width / 2, top = y ?? out.height / 2;
  const across = (out.left + left - box.left) / box.width, down = (out.top + top - box.top) / box.height;
  zoomed.now = Math.min(zoomed.most, Math.max(1, to));
  stack.style.setProperty("--zoom", zoomed.now);
  const grown = stack.getBoundingClientRect();
  frame.scrollLeft += grown.left + across * grown.width - out.left - left;
  frame.scrollTop += grown.top + down * grown.height - out.top - top;
  frame.classList.toggle("zoomed", zoomed.now > 1);
  $("viewer-zoom").textContent = `${(100 * stack.clientWidth / zoomed.about.width).toFixed(0)} %`;
  $("zoom-out").setAttribute("aria-disabled", String(zoomed.now <= 1));
  $("zoom-in").setAttribute("aria-disabled", String(zoomed.now >= zoomed.most));
  placeBoxes(stack, zoomed.about);
}

// Shows a part of the image, x0, y0, x1, y1 in its pixels, as large as the frame allows.
function zoomTo([x0, y0, x1, y1]) {
  const frame = $("viewer-frame"), stack = $("viewer-stack"), { width, height } = zoomed.about;
  zoom(1);
  const wide = (x1 - x0) / width * stack.clientWidth, tall = (y1 - y0) / height * stack.clientHeight;
  zoom(0.9 * Math.min(frame.clientWidth / wide, frame.clientHeight / tall));
  const out = frame.getBoundingClientRect(), box = stack.getBoundingClientRect();
  frame.scrollLeft += box.left + (x0 + x1) / 2 / width * box.width - out.left - out.width / 2;
  frame.scrollTop += box.top + (y0 + y1) / 2 / height * box.height - out.top - out.height / 2;
}

// Moves a picture that is zoomed; whether it is.
function pan(key) {
  const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key];
  if (zoomed.now <= 1 || !by) return false;
  const frame = $("viewer-frame");
  frame.scrollLeft += by[0] * frame.clientWidth / 6;
  frame.scrollTop += by[1] * frame.clientHeight / 6;
  return true;
}

const STEP = 1.4;
for (const [name, by] of [["zoom-in", STEP], ["zoom-out", 1 / STEP]]) $(name).addEventListener("click", () => zoom(zoomed.now * by));
$("zoom-fit").addEventListener("click", () => zoom(1));
for (const [name, by] of [["+", STEP], ["=", STEP], ["-", 1 / STEP], ["0", 0]]) {
  keys.set(name, () => { if (!viewer.open) return false; zoom(zoomed.now * by); });
}
$("viewer-frame").addEventListener("wheel", (event) => {
  if (event.deltaY > 0 && zoomed.now <= 1) return; // the page below scrolls
  event.preventDefault();
  const out = event.currentTarget.getBoundingClientRect();
  zoom(zoomed.now * Math.exp(-0.002 * Math.max(-200, Math.min(200, event.deltaY))), event.clientX - out.left, event.clientY - out.top);
}, { passive: false });
$("viewer-frame").addEventListener("pointerdown", (event) => {
  const frame = event.currentTarget;
  if (zoomed.now <= 1 || event.button) return;
  frame.setPointerCapture(event.pointerId);
  const begin = { x: event.clientX + frame.scrollLeft, y: event.clientY + frame.scrollTop };
  const drag = (moved) => { frame.scrollLeft = begin.x - moved.clientX; frame.scrollTop = begin.y - moved.clientY; };
  frame.addEventListener("pointermove", drag);
  for (const end of ["pointerup", "pointercancel"]) frame.addEventListener(end, () => frame.removeEventListener("pointermove", drag), { once: true });
});
$("viewer-stack").addEventListener("dragstart", (event) => event.preventDefault()); // no ghost of the photo
addEventListener("resize", () => { if (viewer.open) zoom(zoomed.now); });
